#!/bin/sh
# One backup in the format of docker/backup.py, with nothing but PostgreSQL's image: the database first, then the blobs.
# BACKUPS is where to, KEEP how many stay, BLOBS the folder with episodes and bundles.
set -eu
url=$(sed 's/+psycopg//' "$WTL_SECRETS_DIR/wtl_database")
name=$(date -u +%Y%m%dT%H%M%SZ)
half="$BACKUPS/.$name.partial"
umask 077
mkdir -p "$half"
trap 'rm -rf "$half"' EXIT
pg_dump --format=custom --no-owner --file="$half/database.dump" "$url"
for what in episodes bundles; do
    mkdir -p "$half/empty"
    folder="$BLOBS/$what"
    [ -d "$folder" ] || folder="$half/empty"
    # 1: a file that somebody deleted meanwhile.
    tar -C "$folder" --exclude='*.tmp' -cf "$half/$what.tar" . || [ $? -eq 1 ]
done
rmdir "$half/empty"
digests=$(cd "$half" && sha256sum database.dump episodes.tar bundles.tar | sed 's/^\([0-9a-f]*\)  \(.*\)$/"\2": "\1"/' | paste -sd,)
printf '{"kind": "postgresql", "sha256": {%s}}\n' "$digests" > "$half/manifest.json"
mv "$half" "$BACKUPS/$name"
echo "$BACKUPS/$name"
ls -d "$BACKUPS"/2* | head -n "-$KEEP" | while read -r old; do rm -rf "$old" && echo "deleted $old"; done
