#!/usr/bin/env bash
# Every kind of request, with nothing but curl. Start `muybridge serve` first.
set -euo pipefail
base=${OPENAI_BASE_URL:-http://127.0.0.1:8000/v1}
here=$(dirname "$0")
out=${1:-curl-output}
mkdir -p "$out"
call() { curl --fail --silent --show-error -H "Authorization: Bearer ${OPENAI_API_KEY:-unused}" "$@"; }
json() { call -H 'Content-Type: application/json' "$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)["'"$1"'"])'; }

echo "models"; call "$base/models" | python3 -c 'import json, sys; print(*[m["id"] for m in json.load(sys.stdin)["data"]])'

echo "chat"; json "$base/chat/completions" -d '{"model": "gpt-4o", "max_completion_tokens": 20,
  "messages": [{"role": "user", "content": "Say hello in French."}]}'; echo

echo "image"; json "$base/images/generations" -d '{"prompt": "a fox in a forest", "seed": 1}' |
  python3 -c 'import base64, json, sys; sys.stdout.buffer.write(base64.b64decode(json.load(sys.stdin)["data"][0]["b64_json"]))' > "$out/fox.png"

echo "video"; video=$(call "$base/videos" -F prompt="the fox runs" -F input_reference=@"$out/fox.png;type=image/png" | field id)
until call "$base/videos/$video" | grep -qE '"status":"(completed|failed)"'; do sleep 0.5; done
call "$base/videos/$video/content" -o "$out/fox.mp4"

if [ -f "$here/narration.ogg" ]; then
  echo "transcription"; call "$base/audio/transcriptions" -F model=whisper-1 -F file=@"$here/narration.ogg" -F response_format=srt
fi

vision=$(call "$base/models" | python3 -c 'import json, sys; print([m["id"] for m in json.load(sys.stdin)["data"] if m["kind"] == "vision"][0])')
echo "scene"; call "$base/scenes/validations" -F model="$vision" -F image=@"$out/fox.png;type=image/png" \
  -F description="a fox in a forest, with fog"; echo
