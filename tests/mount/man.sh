#!/bin/bash
# the manual pages: no warnings, and every option of --help
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pages=("$BUILD_DIR/mount-helpers/uringfs.8" "$ROOT/mount-helpers/mount.uringfs.8")
command -v groff >/dev/null || skip "no groff"
for page in "${pages[@]}"; do
    [[ -s $page ]] || { fail "$page is missing"; continue; }
    run 0 groff -ww -man -Tutf8 -z "$page"
    [[ ! -s $W/out ]] || { fail "$page:"; cat "$W/out"; }
    if command -v man >/dev/null; then
        MANWIDTH=80 man --warnings=all -E UTF-8 -Tutf8 -l "$page" >"$W/text" 2>"$W/out" || fail "man -l $page"
        [[ ! -s $W/out ]] || { fail "man --warnings $page:"; cat "$W/out"; }
    fi
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        grep -q "^\.SH $section" "$page" || fail "$page has no section $section"
    done
done
groff -man -Tascii -P-cbou -rLL=200n "${pages[0]}" >"$W/text" 2>/dev/null
n=0
while read -r option; do
    n=$((n + 1))
    grep -qF -- "$option" "$W/text" || fail "uringfs.8 does not have the option '$option'"
done < <("$DAEMON" --help | sed -n '/^options /,/^$/s/^  \([^ ]*\).*/\1/p')
((n > 20)) || fail "only $n options were found in --help"
"$DAEMON" --help | sed -n 's/^mount options: //p' | tr -d ' ' | tr ',' '\n' >"$W/words"
while read -r option; do
    grep -qw -- "$option" "$W/text" || fail "uringfs.8 does not have the mount option '$option'"
done <"$W/words"

# every name of the statistics; reasons of durability_kernel_ are given by their ends
run 0 uringfs "$SRC" "$MNT" -o "stats_file=$W/figures"
kill -USR1 "$(daemons)"
for ((n = 0; n < 100; n++)); do grep -qs '^{' "$W/figures" && break; sleep 0.1; done
umount "$MNT"; unmounted
grep '^{' "$W/figures" | python3 -c 'import json, sys; print(*json.loads(sys.stdin.read()), sep="\n")' >"$W/words"
grep -o '^[a-z_]*  *[0-9.]*$' "$W/figures" | sed 's/ .*//' >>"$W/words"
(($(wc -l <"$W/words") > 150)) || fail "only $(wc -l <"$W/words") names in the statistics"
while read -r name; do
    case $name in source | mountpoint | transport | rings) continue ;; esac
    grep -qw -- "$name" "$W/text" || grep -qw -- "${name#durability_kernel}" "$W/text" || fail "uringfs.8 does not explain '$name' of the statistics"
done < <(sort -u "$W/words")
end
