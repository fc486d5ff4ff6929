#!/bin/sh
# What the platform's containers hold in secret: certificates of the mesh, keys, the first administrator's
# password. Made once into the folder that is named, and kept; the administrator is told how to log in.
set -eu
cd "$1"

if [ ! -e complete ]; then
    new_key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl req -x509 $new_key -sha256 -days 3650 -subj "/CN=mainstay-mesh-ca" -keyout ca.key -out ca.crt \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
    for name in gateway auth-svc identity-svc authz-svc audit-svc billing-svc operator; do
        openssl req $new_key -subj "/CN=$name" -keyout "$name.key" -out request.csr
        # The first DNS name is who the process is.
        printf '%s\n' "subjectAltName=DNS:$name,IP:127.0.0.1" basicConstraints=CA:FALSE \
            keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth > extensions
        openssl x509 -req -sha256 -in request.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
            -extfile extensions -out "$name.crt"
    done
    rm -f request.csr extensions ca.srl
    openssl rand -base64 32 > key-encryption-key
    openssl rand -base64 32 > checkpoint-key
    openssl rand -hex 32 > cursor-key
    openssl rand -hex 32 > subject-key
    openssl rand -hex 12 > admin-password
    chmod 600 -- *
    # Who the images run as.
    [ "$(id -u)" != 0 ] || chown -R 65532:65532 .
    touch complete
fi
echo "administrator admin@mainstay.local, password $(cat admin-password)"
