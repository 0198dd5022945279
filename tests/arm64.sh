#!/usr/bin/env bash
# Run a Python command on an emulated 64-bit ARM processor (QEMU), from the root of the repository, on Debian.
#
#   tests/arm64.sh -m pytest -x tests/ops/test_ops.py
#
# The first call fetches QEMU, an ARM Python and the ARM wheels of our dependencies, in about a minute. Everything lies
# in $ARM64_HOME (default: arm64/ in the cache folder); the packages of the system stay as they are. Emulation is 20 to
# 60 times slower. It shows that the kernels compile and the numbers are right, not how fast they are.
set -euo pipefail
home=${ARM64_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/tinynet/arm64}
here=$PWD

install() {
  command -v apt-get dpkg-deb >/dev/null || { echo 'tests/arm64.sh needs apt-get and dpkg: Debian, or Ubuntu' >&2; exit 1; }
  rm -rf "$home"
  mkdir -p "$home"/apt/{lists,cache}/partial "$home"/apt/cache/archives/partial "$home"/{host,system,site,bin}
  : > "$home/apt/status"
  cat > "$home/apt/conf" <<END
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Dir::State::Lists "$home/apt/lists";
Dir::State::status "$home/apt/status";
Dir::Cache "$home/apt/cache";
END
  if ! command -v qemu-aarch64-static >/dev/null; then
    (cd "$home/host" && { apt-get download -q qemu-user-static || { apt-get update -q; apt-get download -q qemu-user-static; }; })
    dpkg-deb -x "$home"/host/*.deb "$home/host"
  fi
  APT_CONFIG=$home/apt/conf apt-get update -q
  APT_CONFIG=$home/apt/conf apt-get install -q -y --download-only python3 libstdc++6 libgomp1
  for package in "$home"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$home/system"; done

  # A process that starts sys.executable starts this program, so that children are emulated too, in any environment.
  local python version qemu
  python=$(echo "$home"/system/usr/bin/python3.[0-9]*)
  version=${python##*/python}
  qemu=$(command -v qemu-aarch64-static || echo "$home/host/usr/bin/qemu-aarch64-static")
  cat > "$home/bin/python" <<END
#!/bin/sh
exec '$qemu' -L '$home/system' '$python' "\$@"
END
  chmod +x "$home/bin/python"
  printf '%s\n' "import sys; sys.executable = '$home/bin/python'" "$home/site" \
    > "$home/system/usr/lib/python3/dist-packages/emulated.pth"

  local platforms=(--platform "manylinux_2_28_aarch64" --platform "manylinux_2_27_aarch64"
                   --platform "manylinux_2_17_aarch64" --platform "manylinux2014_aarch64")
  "${PYTHON:-python3}" - <<'END' > "$home/requirements.txt"
import configparser
file = configparser.ConfigParser()
file.read("setup.cfg")
extras = file["options.extras_require"]
lines = "\n".join([file["options"]["install_requires"], extras["demo"], extras["images"], extras["test"]]).splitlines()
print("\n".join(line for line in lines if line.strip() and "tinynet" not in line))
END
  "${PYTHON:-python3}" -m pip install -q --disable-pip-version-check --only-binary=:all: --python-version "$version" \
    --implementation cp "${platforms[@]}" --target "$home/site" -r "$home/requirements.txt"
  touch "$home/ready"
}

[ -e "$home/ready" ] || install >&2
export PYTHONPATH=$here NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$home/kernels}" PYTHONDONTWRITEBYTECODE=1
exec "$home/bin/python" "$@"
