-- What one service needs in a PostgreSQL database: a login role, a schema that the role owns, and
-- the right to connect. Nothing else is granted, so no service can read another's tables.
--
-- Run it in the database of the platform, once for each service, as a superuser or as a role with
-- CREATEROLE that owns the database:
--
--   psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -v service=identity -v password="$PASSWORD" \
--     -f deploy/postgres/provision.sql
--
-- `service` is the short name (auth, identity, authz, audit, billing, or that of your own service);
-- it becomes the schema's name, which is what database.schema is by default. The role is named
-- after database and service, because roles belong to the whole server: mainstay_identity in the
-- database mainstay. The service's setting is then
--
--   database.url = postgres://mainstay_identity:PASSWORD@HOST:PORT/mainstay
--
-- Running it again changes the password and mends what is missing. Create the database with
--
--   CREATE DATABASE mainstay TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
--
-- so that names order by their bytes, the same on every machine and after every upgrade of it.

SELECT set_config('provision.service', :'service', false),
       set_config('provision.password', :'password', false);

DO $provision$
DECLARE
    service text := current_setting('provision.service');
    role text := current_database() || '_' || service;
    superuser boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF service !~ '^[a-z_][a-z0-9_]*$' OR length(role) > 63 THEN
        RAISE EXCEPTION 'service % must be lower-case letters, digits and _, and % at most 63 long',
            service, role;
    END IF;
    -- Of several that run at once in this database one goes first.
    PERFORM pg_advisory_xact_lock(hashtextextended('mainstay provision', 0));

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        EXECUTE format('CREATE ROLE %I', role);
    END IF;
    EXECUTE format('ALTER ROLE %I WITH LOGIN NOCREATEDB NOCREATEROLE INHERIT PASSWORD %L',
        role, current_setting('provision.password'));
    IF superuser THEN
        EXECUTE format('ALTER ROLE %I WITH NOSUPERUSER NOREPLICATION NOBYPASSRLS', role);
    ELSE
        -- Giving the schema to the role takes membership in it.
        EXECUTE format('GRANT %I TO %I', role, current_user);
    END IF;

    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    REVOKE ALL ON SCHEMA public FROM PUBLIC;

    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', service);
    EXECUTE format('ALTER SCHEMA %I OWNER TO %I', service, role);
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', service);
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', role, current_database(), service);
    IF NOT superuser THEN
        EXECUTE format('REVOKE %I FROM %I', role, current_user);
    END IF;
END
$provision$;

-- The password stays in no session's settings.
SELECT set_config('provision.password', '', false);
