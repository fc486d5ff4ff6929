# syntax=docker/dockerfile:1
#
# One image for each service: docker build --target auth-svc . ; `cargo xtask image` builds all of them.
# An image holds one program, the libraries that it is linked with and the authorities that servers are
# trusted by: no shell, no package manager, and a user that owns nothing.

# Podman asks no registry by itself: the name is whole.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
ENV CARGO_INCREMENTAL=0
# Writes into each program which crates in which versions it was made of, for scanners of images to read.
ARG CARGO_AUDITABLE=0.7.7
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo install cargo-auditable --locked --version ${CARGO_AUDITABLE}
# The same source makes the same program, wherever and of whichever commit it is built.
ENV SOURCE_DATE_EPOCH=0 \
    RUSTFLAGS="--remap-path-prefix=/src=/mainstay --remap-path-prefix=/usr/local/cargo=/cargo"
COPY . .
# What ships is named: the rest of the workspace switches on what is there for tests. Cargo goes by times
# of files, and the target folder of another build may be newer than what was copied: all of it is touched,
# so that only dependencies are taken from there.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=mainstay-target,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + && \
    cargo auditable build --release --locked --package gateway --package auth-svc --package identity-svc \
        --package authz-svc --package audit-svc --package billing-svc --package mainstayctl && \
    install -D -t /out target/release/mainstay-gateway target/release/*-svc target/release/mainstayctl
# What a root folder has to have. All programs are linked with the same few libraries.
RUN mkdir -p /rootfs/etc/ssl/certs /rootfs/tmp && \
    ldd /out/* | grep -o '/[^ :]*\.so[^ ]*' | sort -u | xargs cp --parents --dereference -t /rootfs && \
    cp --dereference /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ && \
    echo 'mainstay:x:65532:65532::/nonexistent:/sbin/nologin' > /rootfs/etc/passwd && \
    echo 'mainstay:x:65532:' > /rootfs/etc/group && \
    chmod 1777 /rootfs/tmp

FROM scratch AS base
# `cargo xtask image` adds version and revision, which here Podman would keep from the first build.
LABEL org.opencontainers.image.title="Mainstay" \
      org.opencontainers.image.description="A gRPC-first service platform" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532

FROM base AS gateway
COPY --from=build /out/mainstay-gateway /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/mainstay-gateway"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/mainstay-gateway", "healthcheck"]

FROM base AS auth-svc
COPY --from=build /out/auth-svc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/auth-svc"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/auth-svc", "healthcheck"]

FROM base AS identity-svc
COPY --from=build /out/identity-svc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/identity-svc"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/identity-svc", "healthcheck"]

FROM base AS authz-svc
COPY --from=build /out/authz-svc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/authz-svc"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/authz-svc", "healthcheck"]

FROM base AS audit-svc
COPY --from=build /out/audit-svc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/audit-svc"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/audit-svc", "healthcheck"]

FROM base AS billing-svc
COPY --from=build /out/billing-svc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/billing-svc"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["/usr/local/bin/billing-svc", "healthcheck"]

FROM base AS mainstayctl
COPY --from=build /out/mainstayctl /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/mainstayctl"]
