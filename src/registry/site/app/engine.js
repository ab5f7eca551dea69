// The page's side of the worker: promises in, promises out.

/** What the browser must bring; the name of the first thing that is missing. */
export function missing() {
    if (!globalThis.isSecureContext) return "a secure context: https, or an address on this machine";
    if (!globalThis.crypto?.subtle) return "SubtleCrypto";
    if (!globalThis.WebAssembly) return "WebAssembly";
    // A module with one vector instruction.
    const simd = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
    return WebAssembly.validate(Uint8Array.from(simd)) ? null : "WebAssembly SIMD";
}

/** A file of the page itself, refused by the browser unless it has the integrity the page names. */
async function part(id) {
    const { content, dataset } = document.getElementById(id);
    const response = await fetch(content, { integrity: dataset.integrity }).catch(() => {
        throw new Error(`${content} cannot be fetched, or it is not the one that this page names`);
    });
    if (!response.ok) throw new Error(`the server answered ${response.status} for ${content}`);
    return response;
}

const policy = globalThis.trustedTypes?.createPolicy("studbook-worker", { createScriptURL: (url) => url });

export class Engine {
    #worker = null;
    #starting = null;
    #waiting = new Map();
    #next = 1;
    #budget;

    constructor(budget) {
        this.#budget = budget;
    }

    /** Starts the worker, once. */
    async #start() {
        this.#starting ??= (async () => {
            const [source, wasm] = await Promise.all([part("worker").then((r) => r.text()), part("wasm").then((r) => r.arrayBuffer())]);
            const module = await WebAssembly.compile(wasm);
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            this.#worker = new Worker(policy ? policy.createScriptURL(url) : url, { type: "module" });
            this.#worker.onmessage = ({ data }) => this.#heard(data);
            this.#worker.onerror = () => this.#end("the worker could not be started");
            const ready = this.#post({ job: "init", module, budget: this.#budget });
            await ready;
            URL.revokeObjectURL(url);
        })();
        try {
            await this.#starting;
        } catch (error) {
            this.#starting = null;
            throw error;
        }
    }

    #heard({ id, text, done, failed, broken }) {
        const waiting = this.#waiting.get(id);
        if (!waiting) return;
        if (text !== undefined) {
            waiting.onText?.(text);
            return;
        }
        this.#waiting.delete(id);
        if (failed === undefined) waiting.resolve(done);
        else waiting.reject(new Error(failed));
        if (broken) this.#end("the runtime stopped");
    }

    /** Forgets the worker and everything in it. */
    #end(why) {
        this.#worker?.terminate();
        this.#worker = null;
        this.#starting = null;
        for (const { reject } of this.#waiting.values()) reject(new Error(why));
        this.#waiting.clear();
    }

    #post(message, onText, onId) {
        const id = this.#next++;
        onId?.(id);
        return new Promise((resolve, reject) => {
            this.#waiting.set(id, { resolve, reject, onText });
            this.#worker.postMessage({ id, ...message });
        });
    }

    /** Says which worker a model handle belongs to: another one knows it no more. */
    get worker() {
        return this.#worker;
    }

    /** Loads a verified entry's model: its handle, where it came from, how long it took. `signal` stops it. */
    async load({ model }, base, keep = true, signal = null) {
        const job = {
            job: "load",
            url: new URL(model.path, base).href,
            bytes: model.bytes,
            piece: model.piece_bytes,
            pieces: model.pieces,
            sha256: model.sha256,
            blake3: model.blake3,
            keep,
        };
        return this.#stoppable(job, null, signal);
    }

    /** Runs a prompt; `onText(text)` sees it come. `signal` stops it between two tokens. */
    async run(job, onText, signal) {
        return this.#stoppable({ job: "run", ...job }, onText, signal);
    }

    async #stoppable(message, onText, signal) {
        await this.#start();
        let of;
        const result = this.#post(message, onText, (id) => (of = id));
        const stop = () => this.#worker?.postMessage({ job: "stop", of });
        if (signal?.aborted) stop();
        signal?.addEventListener("abort", stop, { once: true });
        try {
            return await result;
        } finally {
            signal?.removeEventListener("abort", stop);
        }
    }

    /** Frees a model's memory for the next one. */
    async close(model) {
        await this.#start();
        return this.#post({ job: "close", model });
    }
}
