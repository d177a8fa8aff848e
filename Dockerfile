# One image for serve, worker, migrate and import: the command says which.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY domain domain
COPY integrations integrations
COPY migrations migrations
COPY api api
RUN python -m venv /opt/itb \
 && /opt/itb/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home itb
COPY --from=build /opt/itb /opt/itb
ENV PATH=/opt/itb/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ITB_HOST=0.0.0.0 \
    ITB_DATABASE_URL=sqlite:////data/itb.db
VOLUME /data
WORKDIR /data
USER itb
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('ITB_PORT', '8000') + '/health/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "api"]
CMD ["serve"]
