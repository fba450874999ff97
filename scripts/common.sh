# Shared by the scripts of this folder; sourced, not run.

set -euo pipefail

TREE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The Go tools are optional: tests and the quickstart fall back on belay's own client.
have_go() { command -v go >/dev/null 2>&1 || { [ -x /usr/local/go/bin/go ] && PATH="$PATH:/usr/local/go/bin"; }; }

# The Debian archive that apt is set up for here; fails if there is none.
debian_archive() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    grep -v security | sort -u | head -n 1 | grep .
}

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/belay"

# go_tool NAME PACKAGE [BUILD FLAG...]: builds a pinned tool from test/tools/NAME once, prints its path.
go_tool() { go_built build "$@"; }

# The same for a program that is a package's tests.
go_test_tool() { go_built "test -c" "$@"; }

go_built() {
  local verb="$1" module="$TREE/test/tools/$2" package="$3" name
  name="$(basename "$3")"
  shift 3
  local binary
  binary="$CACHE/tools/$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c1-16)/$name"
  if [ ! -x "$binary" ]; then
    say "building $name with Go (once, a minute or more)"
    mkdir -p "$(dirname "$binary")"
    # shellcheck disable=SC2086 # two words
    (cd "$module" && go $verb "$@" -o "$binary.$$" "$package") >&2
    mv "$binary.$$" "$binary"
  fi
  printf '%s\n' "$binary"
}

# containerd_programs DIR: puts the peer's programs there.
containerd_programs() {
  mkdir -p "$1"
  local program
  for program in containerd containerd-shim-runc-v2; do
    cp "$(go_tool containerd "github.com/containerd/containerd/v2/cmd/$program")" "$1/"
  done
  cp "$(go_tool runc github.com/opencontainers/runc -tags seccomp)" "$1/"
}
