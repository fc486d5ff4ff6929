#!/bin/sh
# The platform's database, with a schema and a role for each service. PGHOST, PGPORT, PGUSER and PGPASSWORD
# say where and as whom; every role has the password PGPASSWORD. Running it again changes nothing.
set -eu

if [ "$(psql --dbname postgres --no-align --tuples-only --command \
    "SELECT count(*) FROM pg_database WHERE datname = 'mainstay'")" = 0 ]; then
    psql --dbname postgres --command "CREATE DATABASE mainstay TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
fi
for service in auth identity authz audit billing; do
    psql --dbname mainstay --quiet --variable ON_ERROR_STOP=1 --variable service="$service" \
        --variable password="$PGPASSWORD" --file "$1" > /dev/null
done
