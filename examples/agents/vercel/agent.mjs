// A tool-calling round with the Vercel AI SDK: `npm ci && node agent.mjs`, with OPENAI_BASE_URL set to Muybridge's /v1.
// With MUYBRIDGE_API=responses it speaks the Responses API instead of chat completions.
import { createOpenAI } from '@ai-sdk/openai';
import { stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const muybridge = createOpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8000/v1',
  apiKey: process.env.OPENAI_API_KEY ?? 'unused',
});
const name = process.env.MUYBRIDGE_MODEL ?? 'gpt-4o'; // an alias: whatever the profile serves as its text model

const result = streamText({
  model: process.env.MUYBRIDGE_API === 'responses' ? muybridge.responses(name) : muybridge.chat(name),
  temperature: 0,
  tools: {
    get_weather: tool({
      description: 'Get the current weather in a city',
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        console.log(`called: get_weather(${city})`);
        return `It is 18 degrees in ${city}, with light rain.`;
      },
    }),
  },
  stopWhen: stepCountIs(4),
  prompt: 'What is the weather in Paris?',
});

let answer = '';
for await (const text of result.textStream) answer += text;
console.log(`answer: ${answer}`);
