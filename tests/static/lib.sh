# shellcheck shell=bash
# For the checks of this folder: sets `top` and goes there; `report FILE:LINE WHAT`, then `exit "$failed"`.
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit 1
# shellcheck disable=SC2034 # for who sources this
failed=0
# shellcheck disable=SC2034 # as above
report() { echo "$1: $2"; failed=1; }
skip() { echo "SKIP: $*"; exit 77; }
# tracked FILTER...: files that belong to the project, also new ones that are not ignored
tracked() {
    git -C "$top" ls-files --cached --others --exclude-standard -- "$@" 2>/dev/null | sort -u | while IFS= read -r file; do
        [[ -f $file ]] && echo "$file"
    done
}
c_files() { tracked 'fs/*.[ch]' 'backend/*.[ch]' 'mount-helpers/*.[ch]'; }
command -v git >/dev/null && git -C "$top" rev-parse >/dev/null 2>&1 || skip 'no git here: the list of files is unknown'
