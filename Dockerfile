# The command line with its server, for processors, as an ordinary user:
#   docker build -t expcorr .
#   docker run --rm -v "$PWD:/photos" --user "$(id -u):$(id -g)" expcorr correct holiday -o holiday-fixed
FROM python:3.12-slim AS build
RUN python -m venv /opt/expcorr
ENV PATH=/opt/expcorr/bin:$PATH PIP_NO_CACHE_DIR=1
# A layer of its own: it is large and seldom changes. The builds of PyTorch's own index are those without CUDA.
COPY constraints.txt /src/
RUN pip install -c /src/constraints.txt --index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md LICENSE /src/
COPY expcorr_core /src/expcorr_core
COPY training /src/training
COPY weights /src/weights
COPY web/app /src/web/app
COPY examples /src/examples
RUN pip install -c /src/constraints.txt "/src[standalone,deep,heif,raw,video,watch,serve]"

FROM python:3.12-slim
COPY --from=build /opt/expcorr /opt/expcorr
ENV PATH=/opt/expcorr/bin:$PATH
RUN useradd --create-home --uid 1000 expcorr
USER expcorr
WORKDIR /photos
EXPOSE 8080
ENTRYPOINT ["expcorr"]
CMD ["--help"]
