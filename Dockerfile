# voxpop with its CUDA engine, from its own Debian package, which knows the libraries that it needs:
#   docker build -t voxpop .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" voxpop fit votes.h5 -o fit.h5
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS build
COPY . /voxpop
RUN bash /voxpop/scripts/package.sh

FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04
RUN --mount=type=bind,from=build,source=/voxpop/build/package,target=/package \
    apt-get update && \
    apt-get install -y --no-install-recommends /package/*.deb && \
    rm -rf /var/lib/apt/lists/*
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["voxpop"]
