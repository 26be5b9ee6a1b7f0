#!/bin/sh
# A metric for blocklens: the size of a network's ONNX file.
#
#     blocklens evaluate --metric "size@program:sh examples/program-metric/size.sh"
#
# It asks for the network as a file ("wants": "onnx"); docs/program-metrics.md has the rules.
read -r greeting
echo '{"metrics": [{"name": "size", "unit": "bytes", "direction": "lower-is-better"}], "wants": "onnx"}'
while read -r question; do
    id=$(printf '%s' "$question" | sed 's/.*"id":\([0-9]*\).*/\1/')
    file=$(printf '%s' "$question" | sed 's/.*"onnx":"\([^"]*\)".*/\1/')
    echo "{\"id\": $id, \"values\": {\"size\": $(($(wc -c <"$file")))}}"
done
