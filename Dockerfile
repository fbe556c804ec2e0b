# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
# The image has the C compiler that the cryptography and the embedded database need; both are linked statically.
WORKDIR /build
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY src ./src
COPY benches ./benches
COPY migrations ./migrations
COPY policies ./policies
COPY README.md LICENSE NOTICE openapi.json ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --profile dist --bin holdpoint \
    && install -D -m 0755 target/dist/holdpoint /image/usr/local/bin/holdpoint \
    && install -d -m 0700 /image/var/lib/holdpoint \
    && install -d -m 0755 /image/etc/holdpoint/policies \
    && install -m 0644 policies/*.yaml /image/etc/holdpoint/policies/ \
    && rm -f /image/etc/holdpoint/policies/*.cases.yaml \
    && install -D -m 0644 -t /image/usr/share/doc/holdpoint LICENSE NOTICE

# C library and CA certificates, no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=nonroot:nonroot /image/ /
USER nonroot:nonroot
VOLUME ["/var/lib/holdpoint"]
# 8080: agents. 8081: reviewers, API, metrics. In a container both must listen on 0.0.0.0: see docs/reference/configuration.md.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/holdpoint", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/holdpoint"]
CMD ["serve", "-c", "/etc/holdpoint/holdpoint.yaml"]
