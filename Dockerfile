FROM python:3.12-slim
WORKDIR /srv/hublineage
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY crawler crawler
COPY lineage lineage
COPY db db
COPY migrations migrations
COPY hublineage hublineage
RUN pip install --no-cache-dir --constraint constraints.txt .
USER nobody
ENTRYPOINT []
CMD ["hublineage", "status"]
