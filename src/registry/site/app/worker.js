// Runs models. A worker of its own, so that the page stays alive while numbers are crunched.
//
// A model's bytes reach the parser only when every piece of them had the SHA-256 that the selector names and
// all of them together have the BLAKE3 and the length that the admitted manifest names. They go straight
// into the runtime's memory, so they exist once; a piece that is wrong ends the loading.

let abi = null;
const stopped = new Set(); // Jobs that nobody waits for any more.
const loading = new Map(); // What ends the loading of a job.

const utf8 = new TextDecoder();
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What the last call had to say. */
function output() {
    const bytes = new Uint8Array(abi.memory.buffer, abi.slm_output(), abi.slm_output_len());
    return utf8.decode(bytes.slice());
}

/** A handle or a step's number; -1 is an error with its words in the output. */
function checked(number) {
    if (number < 0) throw new Error(output());
    return number;
}

/** The place where `bytes` bytes can be written. */
function input(bytes) {
    const address = abi.slm_input(bytes);
    if (address === 0) throw new Error(output());
    return new Uint8Array(abi.memory.buffer, address, bytes);
}

async function init({ module, budget }) {
    const instance = await WebAssembly.instantiate(module, {});
    abi = instance.exports;
    if (abi.slm_abi() !== 1) throw new Error(`the runtime speaks version ${abi.slm_abi()}, this page version 1`);
    abi.slm_budget(budget);
    return {};
}

/** Loads a model unless it is stopped. */
async function load(job, id) {
    const stop = new AbortController();
    loading.set(id, stop);
    try {
        return await loaded(job, stop.signal);
    } finally {
        loading.delete(id);
    }
}

/** The model from the cache, or from the server. Both are checked alike. */
async function loaded(job, signal) {
    const started = performance.now();
    const cache = job.keep && globalThis.caches ? await caches.open("studbook-models").catch(() => null) : null;
    const key = new URL(job.url);
    key.search = `sha256=${job.sha256}`;
    const kept = cache ? await cache.match(key.href) : null;
    if (kept) {
        try {
            return { ...(await take(job, kept, null)), from: "cache", milliseconds: performance.now() - started };
        } catch {
            await cache.delete(key.href); // Spoilt where it lay: the server has another chance.
        }
    }
    const response = await fetch(job.url, {
        redirect: "error",
        credentials: "omit",
        mode: "same-origin",
        cache: "no-store",
        signal,
    });
    if (!response.ok) throw new Error(`the server answered ${response.status} for the model`);
    const model = await take(job, response, cache ? keeper(cache, key.href) : null);
    return { ...model, from: "network", milliseconds: performance.now() - started };
}

/** Passes verified pieces on to the cache; `end(false)` makes it forget them. */
function keeper(cache, key) {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const kept = cache.put(key, new Response(readable)).catch(() => {});
    return {
        put: (piece) => writer.write(piece).catch(() => {}),
        end: async (good) => {
            await (good ? writer.close() : writer.abort()).catch(() => {});
            await kept;
        },
    };
}

async function take(job, response, keep) {
    let good = false;
    try {
        const declared = response.headers.get("content-length");
        if (declared !== null && !response.headers.get("content-encoding") && Number(declared) !== job.bytes) {
            await response.body.cancel();
            throw new Error(`the model has ${declared} bytes, ${job.bytes} were admitted`);
        }
        await fill(job, response.body.getReader(), keep);
        abi.slm_digest_input();
        if (output() !== job.blake3) throw new Error("the model's BLAKE3 is not the one that was admitted");
        const model = checked(abi.slm_open());
        good = true;
        return { model, memory: abi.memory.buffer.byteLength };
    } finally {
        await keep?.end(good);
        if (!good) abi.slm_input(0);
    }
}

/** Streams the body into the runtime's input, piece by verified piece. */
async function fill(job, reader, keep) {
    const target = input(job.bytes);
    let at = 0; // Bytes written.
    let sure = 0; // Bytes verified.
    const verify = async (end) => {
        const piece = target.slice(sure, end);
        const index = sure / job.piece;
        if (hex(await crypto.subtle.digest("SHA-256", piece)) !== job.pieces[index]) {
            throw new Error(`the model differs from what was admitted in bytes ${sure} to ${end}`);
        }
        await keep?.put(piece);
        sure = end;
    };
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            if (at + value.length > job.bytes) {
                throw new Error(`the model has more than the ${job.bytes} bytes that were admitted`);
            }
            target.set(value, at);
            at += value.length;
            while (at - sure >= job.piece) await verify(sure + job.piece);
        }
        if (at !== job.bytes) throw new Error(`the model ends after ${at} of ${job.bytes} bytes`);
        if (sure < at) await verify(at);
    } catch (error) {
        await reader.cancel().catch(() => {});
        throw error;
    }
}

/** Lets messages in: a stop must be heard between two tokens. */
const breathe = () =>
    new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            port1.close();
            resolve();
        };
        port2.postMessage(null);
    });

const REASONS = ["", "", "end of sequence", "as many as asked for", "context full", "stop text", "output limit", "stopped"];

async function run(job, id) {
    const prompt = new TextEncoder().encode(job.prompt);
    input(prompt.length).set(prompt);
    const answer = checked(
        abi.slm_start(job.model, job.maxTokens, job.temperature, job.topK, job.topP, BigInt.asIntN(64, BigInt(job.seed))),
    );
    const began = performance.now();
    const result = { tokens: [], logits: [], text: "", reason: "stopped" };
    let first = null;
    let breath = began;
    // The first token is shown at once, later ones with the next breath: nobody sees a thousand a second one by one.
    let unsent = "";
    const send = () => {
        if (unsent) postMessage({ id, text: unsent });
        unsent = "";
    };
    try {
        while (!stopped.has(id)) {
            const step = checked(abi.slm_step(answer));
            if (step > 0) {
                const text = output();
                result.text += text;
                unsent += text;
                if (step === 1) {
                    result.tokens.push(abi.slm_token(answer));
                    first ??= performance.now();
                    if (result.tokens.length === 1) send();
                }
                if (step > 1) {
                    result.reason = REASONS[step] ?? "ended";
                    break;
                }
                if (job.digests) {
                    checked(abi.slm_digest_logits(answer));
                    result.logits.push(output());
                }
            }
            if (performance.now() - breath > 12) {
                send();
                await breathe();
                breath = performance.now();
            }
        }
    } finally {
        stopped.delete(id);
        abi.slm_close_answer(answer);
    }
    send();
    const end = performance.now();
    first ??= end;
    return {
        ...result,
        firstMilliseconds: first - began,
        decodeMilliseconds: end - first,
        memory: abi.memory.buffer.byteLength,
    };
}

const JOBS = {
    init,
    load,
    run,
    close: ({ model }) => {
        checked(abi.slm_close_model(model));
        return {};
    },
};

onmessage = async ({ data: { id, job, ...rest } }) => {
    if (job === "stop") {
        if (loading.has(rest.of)) loading.get(rest.of).abort();
        else stopped.add(rest.of);
        return;
    }
    try {
        postMessage({ id, done: await JOBS[job](rest, id) });
    } catch (error) {
        // A trap leaves the runtime in no known state; the page then starts another worker.
        postMessage({ id, failed: error.message, broken: error instanceof WebAssembly.RuntimeError });
    }
};
