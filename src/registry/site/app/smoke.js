// One job for a driver: load a model as the registry's page does, run prompts, say what came of them.

import { Engine, missing } from "./engine.js";
import { bytesOf, parsed } from "./files.js";

const base = new URL(".", location.href);
const result = document.getElementById("result");

async function work() {
    const lacks = missing();
    if (lacks) throw new Error(`this browser lacks ${lacks}`);
    const job = parsed(await bytesOf("job.json", base, 1 << 20), "job.json");
    const engine = new Engine(job.budget);
    const loaded = await engine.load({ model: job.model }, base, false);
    const runs = [];
    for (const prompt of job.prompts) {
        const run = await engine.run({
            model: loaded.model,
            prompt,
            maxTokens: job.max_tokens,
            temperature: 0,
            topK: 1,
            topP: 1,
            seed: 1,
            digests: job.digests,
        });
        const { tokens, text, logits } = run;
        runs.push({
            prompt,
            tokens,
            text,
            logits,
            first_ms: run.firstMilliseconds,
            decode_ms: run.decodeMilliseconds,
            memory_bytes: run.memory,
        });
    }
    return { runs, load_ms: loaded.milliseconds, memory_bytes: loaded.memory };
}

try {
    result.textContent = JSON.stringify({ done: await work() });
} catch (error) {
    result.textContent = JSON.stringify({ failed: error.message });
}
