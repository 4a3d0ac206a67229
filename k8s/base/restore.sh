#!/bin/sh
# restore.sh BACKUP: put it back where nothing is, with nothing but PostgreSQL's image.
set -eu
url=$(sed 's/+psycopg//' "$WTL_SECRETS_DIR/wtl_database")
kept="$BACKUPS/$1"
cd "$kept"
tr ',' '\n' < manifest.json | sed -n 's/.*"\([a-z.]*\)": "\([0-9a-f]\{64\}\)".*/\2  \1/p' | sha256sum -c -
tables=$(psql --tuples-only --no-align --command "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'" "$url")
[ "$tables" = 0 ] || { echo "the database has $tables tables; restore into an empty one" >&2; exit 1; }
for what in episodes bundles; do
    [ -z "$(ls -A "$BLOBS/$what" 2>/dev/null)" ] || { echo "$BLOBS/$what is not empty" >&2; exit 1; }
done
pg_restore --exit-on-error --no-owner --single-transaction --dbname="$url" database.dump
for what in episodes bundles; do
    mkdir -p "$BLOBS/$what"
    tar -C "$BLOBS/$what" -xf "$what.tar"
done
echo "restored $kept"
