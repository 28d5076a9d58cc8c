# shellcheck shell=bash disable=SC2016 # inner shells expand
# lib.sh - sourced by the program tests: arguments, work directories, bounded steps, one verdict
#
# A script starts with "program_start NAME "$@"", does its steps with step/check, ends with program_pass.
# $M is its own new directory in the mount, $S the same directory seen in the source, $T a local temporary
# directory outside of both. All three are removed on exit.

set -u
M='' S='' T='' MNT='' SRC='' NAME=''
on_exit=()

# bounded SECONDS COMMAND...: as timeout, but also returns (124) when the command cannot be killed, because the
# mount's daemon does not answer; such a process is left behind
bounded() {
	local limit=$1 end pid
	shift
	timeout -k 5 "$limit" "$@" &
	pid=$!
	end=$((SECONDS + limit + 10))
	while kill -0 "$pid" 2>/dev/null; do
		[ "$SECONDS" -lt "$end" ] || return 124
		sleep 0.02
	done
	wait "$pid"
}

program_clean_up() {
	local command
	for command in "${on_exit[@]+"${on_exit[@]}"}"; do
		$command >/dev/null 2>&1
	done
	cd /
	[ -z "$M" ] || bounded 60 rm -rf -- "$M"
	[ -z "$T" ] || rm -rf -- "$T"
}

program_start() {
	NAME=$1
	shift
	if [ $# -ne 2 ] || ! [ -d "$1" ] || ! [ -d "$2" ]; then
		echo "usage: $0 MNT SRC" >&2
		exit 2
	fi
	MNT=$(realpath "$1")
	SRC=$(realpath "$2")
	T=$(mktemp -d) || exit 2
	trap program_clean_up EXIT
	trap 'exit 1' INT TERM
	M=$MNT/program.$NAME.$$
	S=$SRC/program.$NAME.$$
	bounded 30 mkdir -m 755 "$M" || program_fail "mkdir in the mount"
	[ -d "$S" ] || program_fail "$M does not show up in the source: is MNT a mount of SRC?"
	: >"$T/log"
	export LC_ALL=C HOME=$T
}

program_fail() {
	[ -z "$T" ] || tail -n 15 "$T/log" 2>/dev/null | sed 's/^/    /'
	echo "FAIL $NAME $*"
	exit 1
}

program_skip() {
	echo "SKIP $NAME $*"
	exit 77
}

program_pass() {
	echo "PASS $NAME ${*:-}"
	exit 0
}

# need COMMAND...: skip when a program is missing
need() {
	local command
	for command in "$@"; do
		command -v "$command" >/dev/null || program_skip "no $command here"
	done
}

# step SECONDS WHAT COMMAND...: must end with status 0 within the time; output goes to the log
step() {
	local limit=$1 what=$2 status
	shift 2
	echo "--- $what: $*" >>"$T/log"
	bounded "$limit" "$@" >>"$T/log" 2>&1 </dev/null
	status=$?
	case $status in
	0) ;;
	124 | 137) program_fail "$what: no end within $limit s" ;;
	*) program_fail "$what: status $status" ;;
	esac
}

# capture SECONDS FILE WHAT COMMAND...: the same, standard output goes to FILE
capture() {
	local limit=$1 file=$2 what=$3 status
	shift 3
	echo "--- $what: $*" >>"$T/log"
	bounded "$limit" "$@" >"$file" 2>>"$T/log" </dev/null
	status=$?
	[ $status -eq 0 ] || program_fail "$what: status $status"
}

# same WHAT FILE FILE: two texts must be equal
same() {
	diff -u -- "$2" "$3" >"$T/same.diff" 2>&1 && return
	head -n 12 "$T/same.diff" | cut -c1-200 | sed 's/^/    /'
	program_fail "$1: differs"
}

# empty WHAT FILE
empty() {
	[ -s "$2" ] || return 0
	head -n 12 "$2" | cut -c1-200 | sed 's/^/    /'
	program_fail "$1: should be empty"
}

# listing DIR: names, types, modes, owners, links, sizes, times, targets, xattrs, ACLs and contents of a tree
listing() {
	(
		cd "$1" || exit 1
		find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%l|' \
			\( -type d -printf 'dir\n' -o -printf '%n|%s\n' \) | sort
		find . -type f -print0 | sort -z | xargs -0r sha256sum
		if command -v getfattr >/dev/null; then
			find . -print0 | sort -z | xargs -0r getfattr -h -d -m - -e hex -- 2>/dev/null
		fi
		if command -v getfacl >/dev/null; then
			find . ! -type l -print0 | sort -z | xargs -0r getfacl -n -- 2>/dev/null
		fi
	)
}
export -f listing

# same_trees WHAT DIR DIR: complete metadata and contents of two trees are equal
same_trees() {
	capture 180 "$T/list.a" "$1: list $2" bash -c 'listing "$1"' _ "$2"
	capture 180 "$T/list.b" "$1: list $3" bash -c 'listing "$1"' _ "$3"
	[ -s "$T/list.a" ] || program_fail "$1: the list of $2 is empty"
	same "$1" "$T/list.a" "$T/list.b"
}

# odd_tree DIR: sparse file, hard links, symlinks, fifos, xattrs, ACLs, odd times, modes and names
odd_tree() {
	local d=$1 i
	mkdir -p "$d/empty" "$d/deep/a/b/c/d/e" "$d/many" || return 1
	truncate -s 8M "$d/sparse"
	printf start | dd of="$d/sparse" conv=notrunc status=none
	printf middle | dd of="$d/sparse" conv=notrunc bs=1M seek=3 status=none
	head -c 3000000 /dev/urandom >"$d/random"
	: >"$d/zero-length"
	ln "$d/random" "$d/deep/a/hard-link"
	ln "$d/random" "$d/many/hard-link-2"
	ln -s ../random "$d/many/good-symlink"
	ln -s /nowhere/at/all "$d/dangling-symlink"
	ln -s "$(printf 'long%.0s' {1..200})" "$d/long-symlink"
	mkfifo -m 640 "$d/fifo"
	mknod -m 600 "$d/device" c 1 3 2>/dev/null || true
	printf x >"$d/name with space"
	printf x >"$d/"$'new\nline'
	printf x >"$d/äöü-$(printf 'n%.0s' {1..200})"
	for i in $(seq 1 300); do
		echo "file $i" >"$d/many/f$i"
	done
	printf secret >"$d/setuid" && chown 1000:1001 "$d/setuid" && chmod 6755 "$d/setuid"
	chmod 1777 "$d/empty"
	chmod 000 "$d/zero-length"
	chown -h 1234:4321 "$d/dangling-symlink"
	setfattr -n user.short -v value "$d/random"
	setfattr -n user.binary -v 0x0001feff00 "$d/deep"
	setfattr -n user.long -v "$(printf 'v%.0s' {1..900})" "$d/name with space"
	setfattr -n trusted.only -v root "$d/many/f1" 2>/dev/null || true
	setfacl -m u:1234:rw,g:4321:r,m::rw "$d/many/f2" 2>/dev/null || true
	setfacl -d -m u:1234:rwx "$d/deep" 2>/dev/null || true
	touch -h -d '1969-12-31 12:00:00.123456789 UTC' "$d/many/f3"
	touch -h -d '2037-05-06 07:08:09.000000001 UTC' "$d/many/f4"
	touch -h -d '2001-02-03 04:05:06.999999999 UTC' "$d/dangling-symlink" "$d/fifo" "$d/deep" "$d/many"
}
export -f odd_tree
