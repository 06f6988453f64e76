"""What all tables share: named constraints and the columns' types."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Float, ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


def one_of(column: str, values: tuple[str, ...]) -> str:
    """The SQL of a check that a column holds one of these texts."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """All tables; constraints are named so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        float: Float(53),
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[int]: ARRAY(BigInteger),
        list[float]: ARRAY(Float(53)),
        list[str]: ARRAY(Text),
        list[bytes]: ARRAY(LargeBinary),
    }


def reference(target: str, *, index: bool = False, primary_key: bool = False) -> Any:
    """A column that names a row of another table, and goes with it."""
    return mapped_column(ForeignKey(target, ondelete="CASCADE"), index=index, primary_key=primary_key)
