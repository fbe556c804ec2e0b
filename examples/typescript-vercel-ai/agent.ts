// How a model gets the tool: `answer(model, "Customer c-2 wants 900 dollars back.")`.

import { generateText, type LanguageModel, stepCountIs } from "ai";
import { refund } from "./tools.js";

export async function answer(model: LanguageModel, prompt: string): Promise<string> {
  const { text } = await generateText({ model, prompt, tools: { refund }, stopWhen: stepCountIs(5) });
  return text;
}
