// transformers.js, as its users call it: a folder under localModelPath with onnx/model.onnx in it. One text at a time.
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [folder, texts, answers] = process.argv.slice(2);
const models = mkdtempSync(join(tmpdir(), "models-"));
try {
  mkdirSync(join(models, "exported", "onnx"), { recursive: true });
  copyFileSync(join(folder, "model.onnx"), join(models, "exported", "onnx", "model.onnx"));
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"]) {
    cpSync(join(folder, name), join(models, "exported", name));
  }
  env.localModelPath = models;
  env.allowRemoteModels = false;
  const extract = await pipeline("feature-extraction", "exported", { dtype: "fp32" });
  const vectors = [];
  for (const text of JSON.parse(readFileSync(texts, "utf-8"))) {
    const found = await extract(text, { pooling: "mean", normalize: true });
    vectors.push(Array.from(found.data));
  }
  writeFileSync(answers, JSON.stringify({ version: env.version, answers: vectors }));
} finally {
  rmSync(models, { recursive: true });
}
