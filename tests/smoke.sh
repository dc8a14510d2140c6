#!/usr/bin/env bash
# The pipeline with the installed commands, on drawn faces: run by cibuildwheel on every wheel, and by test_install.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python -m facetools.commands.draw faces --faces 40
fa-augment faces -o augmented.zip --copies 1 > augmented.jsonl
fa-predict faces -o scores.jsonl
for method in kmeans agglomerative birch spectral; do
    fa-cluster scores.jsonl -k 4 --method "$method" -o "$method.jsonl"
done
fa-cluster scores.jsonl -k 4 --soft -o soft.jsonl
fa-cluster scores.jsonl --method dbscan -o dbscan.jsonl
fa-cluster scores.jsonl --method optics -o optics.jsonl
fa-eigenface kmeans.jsonl -o eigenfaces > eigenfaces.jsonl
fa-report kmeans.jsonl --eigenfaces eigenfaces.jsonl -o report.html
test -s report.html
fa-cluster --version
