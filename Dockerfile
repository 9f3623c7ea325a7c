# Builds the operator for the platforms that docker buildx build --platform names, and with
# docker build, podman or buildah for this machine's. Docker before version 23 needs
# DOCKER_BUILDKIT=1, which make docker-build sets.

# Empty outside of BuildKit; Go then builds for the machine that it runs on.
ARG GOARCH=$TARGETARCH

# The digest is that of all platforms; make update-base-image renews it.
FROM --platform=$BUILDPLATFORM golang:1.26.9@sha256:f1f0bcc2c524a3ced375fcb4d1ecb7aa371aa7070e112599aaca45cc02d0101b AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY *.go ./
COPY api api
COPY internal internal
ARG GOARCH
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /manager .

# Nothing but the static binary and the root certificates.
FROM scratch
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="OpenCXContact operator" \
      org.opencontainers.image.description="Keeps the contacts of OpenCX equal to the OpenCXContact objects of a Kubernetes cluster" \
      org.opencontainers.image.url="https://github.com/opencx-labs/opencx-operator" \
      org.opencontainers.image.source="https://github.com/opencx-labs/opencx-operator" \
      org.opencontainers.image.documentation="https://github.com/opencx-labs/opencx-operator/tree/main/docs" \
      org.opencontainers.image.vendor="OpenCX" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
