# SPDX-License-Identifier: GPL-3.0-or-later
# Where Sumi builds and runs: natively on a system that has GIMP 3, else inside a cached Debian 13 root.
# Sourced by try.sh, check.sh and run.sh.  Everything made here lies outside the checkout except build/.
#
#   sumi_setup            make the environment ready (packages, or the root); cheap when it is
#   sumi_build DIR ARGS   configure (meson ARGS) and compile into DIR
#   sumi_install DIR      install DIR into its own prefix, and show GIMP the plug-in there
#   sumi_enter CMD…       run CMD in the environment, in the current directory

set -euo pipefail

sumi_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sumi_cache=${XDG_CACHE_HOME:-$HOME/.cache}/sumi
sumi_debian_root=$sumi_cache/debian-13

# Debian's package names.  Other systems: the same things under their own names (docs/HACKING.md).
sumi_packages="gcc g++ meson ninja-build pkg-config gettext git ca-certificates
 libglib2.0-dev libjson-glib-dev libgdk-pixbuf-2.0-dev libdnnl-dev libsoup-3.0-dev libgtk-3-dev libgimp-3.0-dev
 gimp libgimp-3.0-bin webp-pixbuf-loader
 xvfb xauth dbus-x11 xdotool imagemagick appstream desktop-file-utils dataset-fashion-mnist"

say ()  { printf '\033[1m» %s\033[0m\n' "$*" >&2; }
fail () { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root ()
{
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs the administrator once: $*"
  fi
}

apt_install ()
{
  as_root apt-get -o DPkg::Lock::Timeout=600 update -q >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends "$@" >&2
}

have_everything ()
{
  command -v meson >/dev/null && command -v gimp-console-3.0 >/dev/null && command -v Xvfb >/dev/null \
    && command -v xdotool >/dev/null && command -v msgfmt >/dev/null \
    && pkg-config --exists 'gimpui-3.0 >= 3.0' gtk+-3.0 libsoup-3.0 json-glib-1.0 gdk-pixbuf-2.0 2>/dev/null \
    && printf '#include <dnnl.h>\n' | cc -E - >/dev/null 2>&1
}

debian_version () { . /etc/os-release; [ "${ID:-}" = debian ] && echo "${VERSION_ID%%.*}" || echo 0; }

# native: GIMP 3 is here, or the system's own packages can bring it.  root: Debian 12.
sumi_mode ()
{
  if have_everything; then echo native
  elif [ "$(debian_version)" -ge 13 ]; then echo native
  elif [ "$(debian_version)" -gt 0 ]; then echo root
  elif command -v apt-cache >/dev/null && apt-cache show libgimp-3.0-dev >/dev/null 2>&1; then echo native
  elif command -v apt-get >/dev/null; then echo root
  else echo unknown
  fi
}

setup_native ()
{
  have_everything && return
  command -v apt-get >/dev/null || fail "please install GIMP 3 and the development packages listed in docs/HACKING.md"
  say "Installing what the build needs"
  apt_install $sumi_packages
  have_everything || fail "packages were installed, but GIMP 3 or oneDNN is still not found"
}

# The Debian mirror of the system's own package sources.
debian_mirror ()
{
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } \
    | grep -v '^ *#' | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' '
}

# Built beside its final place and renamed: an interrupted run leaves nothing that looks ready.
make_debian_root ()
{
  local mirror partial=$sumi_debian_root.partial mode=root tools=mmdebstrap
  [ "$(id -u)" = 0 ] || { mode=unshare; tools="mmdebstrap uidmap"; }
  command -v mmdebstrap >/dev/null && { [ "$mode" = root ] || command -v newuidmap >/dev/null; } || apt_install $tools
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || fail "no Debian mirror in /etc/apt/sources.list or sources.list.d"
  say "Making a Debian 13 root with GIMP 3 in $sumi_debian_root (about 1.5 GB, some minutes, once)"
  rm_root "$partial"
  mmdebstrap --mode=$mode --variant=apt --include="$(echo $sumi_packages | tr ' ' ',')" \
    trixie "$partial" "deb $mirror trixie main" "deb $mirror trixie-updates main" >&2
  echo "$sumi_packages" >"$sumi_cache/debian-13.packages"
  mv "$partial" "$sumi_debian_root"
}

# A root made without being root belongs to mapped users.
rm_root ()
{
  [ -e "$1" ] || return 0
  rm -rf --one-file-system "$1" 2>/dev/null || unshare --user --map-auto --map-root-user rm -rf --one-file-system "$1"
}

setup_root ()
{
  mkdir -p "$sumi_cache"
  exec 9>"$sumi_cache/lock"
  flock 9
  if [ ! -d "$sumi_debian_root" ]; then make_debian_root
  elif [ "$(cat "$sumi_cache/debian-13.packages")" != "$sumi_packages" ]; then
    say "Adding packages to the Debian 13 root"
    enter_root sh -c "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(echo $sumi_packages)" >&2
    echo "$sumi_packages" >"$sumi_cache/debian-13.packages"
  fi
  exec 9>&-
}

# A private mount namespace: nothing stays mounted afterwards.  The checkout's parent folder, the home folder and /tmp are
# visible at their usual paths.
enter_root ()
{
  local flags=(--mount)
  [ "$(id -u)" = 0 ] || flags=(--user --map-auto --map-root-user --mount)
  unshare "${flags[@]}" -- bash -euc '
    root=$1 here=$2; shift 2
    for dir in /proc /sys /dev /tmp "$HOME" "$1"; do
      mkdir -p "$root$dir" && mount --rbind "$dir" "$root$dir"
    done
    shift
    cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
    PATH=$PATH:/usr/sbin:/sbin exec chroot "$root" /usr/bin/env -u OPENBLAS_CORETYPE PATH="$SUMI_PATH" bash -c "cd \"\$0\" && exec \"\$@\"" "$here" "$@"
  ' bash "$sumi_debian_root" "$PWD" "$(dirname "$sumi_root")" "$@"
}

sumi_setup ()
{
  sumi_environment=$(sumi_mode)
  case $sumi_environment in
    native) setup_native ;;
    root)   setup_root ;;
    *)      fail "please install GIMP 3 and the development packages listed in docs/HACKING.md" ;;
  esac
}

sumi_prefix=$sumi_root/build/prefix

sumi_enter ()
{
  # GIMP gets a profile of its own, so that the user's settings are neither read nor changed.
  local -x GIMP3_DIRECTORY=$sumi_root/build/gimp-profile LC_ALL=${LC_ALL:-C.UTF-8} NO_AT_BRIDGE=1
  local -x SUMI_PATH=$sumi_prefix/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
  if [ "$sumi_environment" = root ]; then enter_root "$@"
  else PATH=$sumi_prefix/bin:$PATH "$@"
  fi
}

sumi_build ()
{
  local dir=$1; shift
  [ -f "$dir/build.ninja" ] || { rm -rf "$dir" && sumi_enter meson setup "$dir" "$sumi_root" "$@" >&2; } || return
  sumi_enter ninja -C "$dir" >&2
}

sumi_install ()
{
  sumi_enter meson install -C "$1" --no-rebuild --only-changed --quiet >&2 || return
  mkdir -p "$sumi_root/build/gimp-profile/plug-ins"
  local plugin
  for plugin in "$sumi_prefix"/lib/gimp/3.0/plug-ins/*; do
    [ ! -e "$plugin" ] || ln -sfn "$plugin" "$sumi_root/build/gimp-profile/plug-ins/"
  done
}

# Further arguments go to meson setup.
sumi_build_and_install ()
{
  sumi_build "$sumi_root/build/main" --prefix "$sumi_prefix" --libdir lib \
    -Dgimp_plugin_dir="$sumi_prefix/lib/gimp/3.0/plug-ins" "$@" \
    && sumi_install "$sumi_root/build/main"
}
