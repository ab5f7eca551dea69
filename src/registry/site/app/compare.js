// One prompt, one model or two, one answer each.

import { bytesText, countText, element } from "./view.js";

const at = (id) => document.getElementById(id);
const UNBEGUN = "stopped before it began";

/** One button instead of another; who was on the other with the keyboard is on the one. */
function enable(one, other) {
    const focused = document.activeElement === at(other);
    at(one).disabled = false;
    at(other).disabled = true;
    if (focused) at(one).focus();
}

/** The models a page has open, and the running of them. */
export class Bench {
    #engine;
    #base;
    #verified;
    #open = new Map();
    #abort = null;

    /** `verified(id)` gives the entry with that id once its evidence holds. */
    constructor(engine, base, verified) {
        this.#engine = engine;
        this.#base = base;
        this.#verified = verified;
        at("ask").addEventListener("submit", (event) => {
            event.preventDefault();
            this.#run();
        });
        // What is wrong with a number is said at the number, so it must be seen.
        const open = ({ target }) => target.closest("details")?.setAttribute("open", "");
        at("ask").addEventListener("invalid", open, true);
        // Enter alone is a new line of the prompt.
        at("prompt").addEventListener("keydown", (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
        });
        at("stop").addEventListener("click", () => this.#abort?.abort());
        at("forget").addEventListener("click", () => this.#forget());
    }

    /** Offers these entries. */
    offer(entries) {
        for (const [id, none] of [["model-a", null], ["model-b", "nothing"]]) {
            const select = at(id);
            const chosen = select.value;
            const options = entries.map((entry) => element("option", { value: entry.id }, entry.id));
            if (none) options.unshift(element("option", { value: "" }, none));
            select.replaceChildren(...options);
            if (entries.some((entry) => entry.id === chosen)) select.value = chosen;
        }
        at("go").disabled = entries.length === 0;
    }

    /** Chooses the first model. */
    choose(id) {
        at("model-a").value = id;
    }

    async #run() {
        if (this.#abort) return;
        this.#abort = new AbortController();
        enable("stop", "go");
        const ids = [at("model-a").value, at("model-b").value].filter((id) => id !== "");
        const panes = ids.map((id) => pane(id));
        at("answers").replaceChildren(...panes.map((one) => one.node));
        // One after the other: they share a worker, and a speed is only a speed alone.
        for (const [place, id] of ids.entries()) {
            if (this.#abort.signal.aborted) panes[place].end(UNBEGUN);
            else await this.#answer(id, panes[place]);
        }
        this.#abort = null;
        enable("go", "stop");
    }

    async #answer(id, shown) {
        const began = performance.now();
        try {
            shown.say("verifying");
            const entry = await this.#verified(id);
            const { signal } = this.#abort;
            const { model, from } = await this.#model(entry, signal);
            signal.throwIfAborted();
            shown.say("running");
            let first = null;
            const job = {
                model,
                prompt: at("prompt").value,
                maxTokens: Number(at("max-tokens").value),
                temperature: Number(at("temperature").value),
                topK: Number(at("top-k").value),
                topP: Number(at("top-p").value),
                seed: at("seed").value || "1",
            };
            const result = await this.#engine.run(
                job,
                (text) => {
                    first ??= performance.now();
                    shown.add(text);
                },
                signal,
            );
            const speed = result.tokens.length > 1 ? ((result.tokens.length - 1) / result.decodeMilliseconds) * 1000 : null;
            shown.end(result.reason, [
                ["tokens", String(result.tokens.length)],
                ["first after", `${Math.round((first ?? performance.now()) - began)} ms`],
                ["speed", speed ? `${countText(Math.round(speed))} tokens/s` : "too short to say"],
                ["runtime memory", bytesText(result.memory)],
                ["model from", from],
            ]);
        } catch (error) {
            // A prompt that is refused leaves the model open for the next one.
            if (this.#abort.signal.aborted) shown.end(UNBEGUN);
            else shown.refuse(error.message);
        }
    }

    /** The open model; four stay open, of one worker only. */
    async #model(entry, signal) {
        const known = this.#open.get(entry.id);
        if (known && known.worker === this.#engine.worker) return { model: known.model, from: "memory" };
        if (known) this.#open.delete(entry.id);
        if (this.#open.size >= 4) {
            const [oldest, { model }] = this.#open.entries().next().value;
            this.#open.delete(oldest);
            await this.#engine.close(model).catch(() => {});
        }
        const loaded = await this.#engine.load(entry, this.#base, true, signal);
        this.#open.set(entry.id, { model: loaded.model, worker: this.#engine.worker });
        return loaded;
    }

    async #forget() {
        await globalThis.caches?.delete("studbook-models").catch(() => {});
        for (const { model, worker } of this.#open.values()) {
            if (worker === this.#engine.worker) await this.#engine.close(model).catch(() => {});
        }
        this.#open.clear();
        at("answers").replaceChildren(element("p.hint", { role: "status" }, "No model is kept any more."));
    }
}

/** Where one answer is shown. */
function pane(id) {
    // Busy until it ends: a screen reader reads an answer, not its tokens.
    const text = element("output.answer", { "aria-live": "polite", "aria-busy": "true", "aria-label": `Answer of ${id}` });
    const state = element("p.state", { role: "status" }, "waiting");
    const facts = element("dl.facts");
    const node = element("article.pane", { "data-id": id }, element("h3", {}, id), text, state, facts);
    return {
        node,
        say: (what) => (state.textContent = `${what}…`),
        add: (more) => text.append(more),
        end: (reason, pairs = []) => {
            state.textContent = reason;
            text.setAttribute("aria-busy", "false");
            node.dataset.state = "ended";
            facts.replaceChildren(...pairs.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
        },
        refuse: (why) => {
            node.dataset.state = "refused";
            state.replaceWith(element("p.refusal", { role: "alert" }, `Refused: ${why}`));
        },
    };
}
