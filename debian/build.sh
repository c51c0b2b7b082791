#!/bin/sh
# Usage: sh debian/build.sh [DIR]. The package for Debian 12, trackrelay_VERSION-1_ARCHITECTURE.deb, in DIR or dist.
# Needs what debian/control says: apt-get install --no-install-recommends debhelper python3-venv. It is built from a copy, by
# the Python of Debian, with the index that pip is set to.
set -eu
cd "$(dirname "$0")/.."
to=${1:-dist}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' relay/__init__.py)
day=$(sed -n "s/^## \[$version\] - //p" CHANGELOG.md)
[ -n "$day" ] || { echo "CHANGELOG.md has no section of version $version" >&2; exit 1; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/trackrelay" "$to"
tar -c --exclude='__pycache__' CHANGELOG.md LICENSE MANIFEST.in README.md debian docs monitoring pyproject.toml relay \
    relay.toml requirements.lock systemd tracking_http | tar -x -C "$place/trackrelay"
# 0.2.0rc1 comes before 0.2.0.
debian=$(echo "$version" | sed -E 's/(a|b|rc|\.dev)([0-9]+)$/~\1\2/')-1
cat > "$place/trackrelay/debian/changelog" <<END
trackrelay ($debian) bookworm; urgency=medium

  * Version $version. What changed: /usr/share/doc/trackrelay/changelog.gz

 -- The trackrelay authors <trackrelay@users.noreply.github.com>  $(date -u -R -d "$day")
END
(cd "$place/trackrelay" && dpkg-buildpackage --build=binary --no-sign)
mv "$place"/trackrelay_*.deb "$to"
ls "$to/trackrelay_${debian}"_*.deb
