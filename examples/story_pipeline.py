"""An idea becomes a story video, through the official `openai` client alone.

    muybridge serve &
    python examples/story_pipeline.py "a lighthouse keeper and a lost whale"

Script (a JSON schema keeps it one; where the starter's models draw, within the world that they know), a keyframe for
each scene, validations of each keyframe against its own scene and the others, each keyframe animated, the narration
spoken, clips and voice joined to one MP4, the voice transcribed to SRT subtitles, and a contact sheet of it all.
Everything is left in the output folder. `OPENAI_BASE_URL` and `OPENAI_API_KEY` say where the server is.
"""

import argparse
import base64
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import av
import openai
import story_world
from openai import OpenAI
from story_sheet import draw_sheet

VOICE = "fable"
SCENES = 3


def text(limit: int) -> dict[str, Any]:
    """The schema of a text of at most `limit` characters: small models like to ramble."""
    return {"type": "string", "minLength": 8, "maxLength": limit}


SCRIPT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": text(60),
        "scenes": {
            "type": "array",
            "minItems": SCENES,
            "maxItems": SCENES,
            "items": {
                "type": "object",
                "properties": {"description": text(140), "motion": text(60), "narration": text(140)},
                "required": ["description", "motion", "narration"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "scenes"],
    "additionalProperties": False,
}


class Story:
    """One run of the pipeline: a client, the models that serve it, and the folder that fills up."""

    def __init__(self, client: OpenAI, output: Path) -> None:
        """Asks the server which models it has, and takes the first of each kind."""
        self.client = client
        self.output = output
        self.started = time.monotonic()
        models = {}
        for model in client.models.list():
            models.setdefault((model.model_extra or {}).get("kind"), model.id)
        self.models = models
        output.mkdir(parents=True, exist_ok=True)

    def say(self, line: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {line}", flush=True)

    def write_script(self, idea: str) -> dict[str, Any]:
        """Title and scenes, each with what is seen, how it moves and what is said."""
        self.say(f"writing a script with {self.models['text']}")
        small_world = self.models["image"] == story_world.MODEL
        schema = story_world.schema(SCENES, text(140)) if small_world else SCRIPT_SCHEMA
        completion = self.client.chat.completions.create(
            model=self.models["text"],
            messages=[
                {"role": "system", "content": "You are a creative scriptwriter for short videos. Answer in JSON."},
                {"role": "user", "content": f"Write {SCENES} scenes, each one sentence long, about: {idea}"},
            ],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "script", "schema": schema, "strict": True},
            },
            temperature=0.7,
            seed=7,
            max_completion_tokens=700,
        )
        script = json.loads(completion.choices[0].message.content or "")
        if small_world:
            script = story_world.script(script)
        (self.output / "script.json").write_text(json.dumps(script, indent=2, ensure_ascii=False) + "\n")
        self.say(f"script: {script['title']}")
        return script

    def draw(self, number: int, description: str) -> Path:
        """The keyframe of a scene, as a PNG."""
        path = self.output / f"keyframe_{number}.png"
        images = self.client.images.generate(
            model=self.models["image"],
            prompt=description,
            response_format="b64_json",
            extra_body={"negative_prompt": "blurry, low quality", "seed": number},
        )
        path.write_bytes(base64.b64decode(images.data[0].b64_json or ""))
        self.say(f"scene {number}: drew {path.name}")
        return path

    def validate(self, keyframe: Path, description: str) -> dict[str, Any]:
        """How well a keyframe shows a scene. An extension route, reached through the same client."""
        image = "data:image/png;base64," + base64.b64encode(keyframe.read_bytes()).decode()
        body = {"model": self.models["vision"], "image": image, "description": description}
        return self.client.post("/scenes/validations", body=body, cast_to=dict[str, Any])

    def compare(self, keyframes: list[Path], scenes: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """For each keyframe its validation against each scene: it should match its own, and no other."""
        found = [[self.validate(keyframe, scene["description"]) for scene in scenes] for keyframe in keyframes]
        (self.output / "validations.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        for number, row in enumerate(found, 1):
            own = row[number - 1]
            verdict = "matches" if own["is_valid"] else "does not match"
            others = ", ".join(f"{one['match_score']:.2f}" for at, one in enumerate(row, 1) if at != number)
            self.say(
                f"scene {number}: keyframe {verdict} its description, score {own['match_score']:.2f}; "
                f"against those of the others {others}"
            )
        return found

    def animate(self, number: int, keyframe: Path, scene: dict[str, Any]) -> Path:
        """The scene as a clip that starts with its keyframe."""
        path = self.output / f"scene_{number}.mp4"
        video = self.client.videos.create_and_poll(
            model=self.models["video"],
            prompt=scene["description"],
            input_reference=keyframe,
            extra_body={"motion_hint": scene["motion"], "seed": number},
        )
        if video.status != "completed":
            raise RuntimeError(f"scene {number} failed: {video.error}")
        self.client.videos.download_content(video.id).write_to_file(path)
        self.say(f"scene {number}: generated {path.name}, {video.seconds} s")
        return path

    def narrate(self, lines: list[str]) -> Path:
        """The narration, spoken; it is written to the file while the model still speaks."""
        path = self.output / "narration.wav"
        text = "\n".join(lines).encode("ascii", "ignore").decode()  # a small model may slip into another script
        with self.client.audio.speech.with_streaming_response.create(
            model=self.models["voice"], voice=VOICE, input=text, response_format="wav"
        ) as audio:
            audio.stream_to_file(path)
        self.say(f"narrated {path.name} with {self.models['voice']}")
        return path

    def transcribe(self, narration: Path) -> Path:
        """Subtitles of the narration."""
        path = self.output / "narration.srt"
        with narration.open("rb") as audio:
            subtitles = self.client.audio.transcriptions.create(
                model=self.models["speech"], file=audio, response_format="srt"
            )
        path.write_text(subtitles)
        self.say(f"transcribed the narration to {path.name}")
        return path


def join(clips: list[Path], narration: Path, target: Path) -> None:
    """Puts clips of one encoder and one size behind each other, without encoding them again, and a voice beside them.

    The clip is as long as the longer of the two; the last image stays while the voice goes on.
    """
    with av.open(target, "w", options={"movflags": "+faststart"}) as container:
        offset = 0
        with av.open(clips[0]) as first:  # all streams must be known before anything is written
            stream = container.add_stream_from_template(first.streams.video[0])
        voice = container.add_stream("aac", rate=24_000, layout="mono")
        for clip in clips:
            with av.open(clip) as source:
                video = source.streams.video[0]
                length = int(video.duration or 0)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue  # the end of the clip
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    container.mux(packet)
                offset += length
        with av.open(narration) as audio:
            for frame in audio.decode(audio=0):
                container.mux(voice.encode(frame))
        container.mux(voice.encode(None))


def make_story(client: OpenAI, idea: str, output: Path) -> Path:
    """The whole pipeline; returns the clip."""
    story = Story(client, output)
    script = story.write_script(idea)
    scenes = script["scenes"]
    keyframes = [story.draw(number, scene["description"]) for number, scene in enumerate(scenes, 1)]
    validations = story.compare(keyframes, scenes)
    clips = [story.animate(number, *one) for number, one in enumerate(zip(keyframes, scenes, strict=True), 1)]
    narration = story.narrate([scene["narration"] for scene in scenes])
    video_path = output / "story.mp4"
    join(clips, narration, video_path)
    story.transcribe(narration)
    draw_sheet(script["title"], scenes, keyframes, clips, validations, output / "sheet.png")
    story.say(f"done: {video_path}")
    return video_path


def main() -> None:
    """Makes a story of the idea on the command line."""
    parser = argparse.ArgumentParser(description="Make a story video from an idea.")
    parser.add_argument("idea", nargs="?", default="a fox who finds a red balloon in a misty forest")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    arguments = parser.parse_args()
    # The SDK says so of OpenAI's own video service; this server is where `client.videos` lives on.
    warnings.filterwarnings("ignore", message="The Sora API", category=DeprecationWarning)
    client = openai.OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),
    )
    make_story(client, arguments.idea, arguments.output)


if __name__ == "__main__":
    main()
