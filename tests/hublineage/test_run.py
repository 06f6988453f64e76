from conftest import *
def test_x(populated):
    import json
    print(json.dumps(populated[1])[:6000]); assert 0
