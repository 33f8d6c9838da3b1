// The language of a rules table: TOML, with CEL in the texts of the key `when`.

import { StreamLanguage } from "@codemirror/language";

const KEY = /^[A-Za-z0-9_-]+/;
const TABLE = /^\[{1,2}[^\]#]*\]{1,2}/;
const NUMBER = /^[+-]?(?:0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][+-]?[0-9_]+)?|inf|nan)/;
const DATE = /^\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:\d{2})?)?/;
const QUOTES = ["'''", '"""', "'", '"'];
const CONDITION = "when";

const CEL_ATOMS = new Set(["true", "false", "null", "in"]);
const CEL_NUMBER = /^(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)u?/;
const CEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const CEL_OPERATOR = /^(?:&&|\|\||[=!<>]=|[-+*\/%<>!?:])/;

function text(stream, state) {
  const { quote } = state;
  if (stream.match(quote)) {
    state.quote = null;
    state.isCondition = false;
    return "string";
  }
  if (quote[0] === '"' && stream.eat("\\")) {
    stream.next();
    return state.isCondition ? "escape" : "string";
  }
  if (state.isCondition) return condition(stream, quote[0]);
  while (!stream.eol() && !stream.match(quote, false) && !(quote[0] === '"' && stream.peek() === "\\")) stream.next();
  return "string";
}

function condition(stream, outer) {
  if (stream.eatSpace()) return null;
  const inner = stream.peek();
  if ((inner === "'" || inner === '"') && inner !== outer) {
    stream.next();
    while (!stream.eol() && stream.peek() !== outer) {
      const letter = stream.next();
      if (letter === inner) break;
      if (letter === "\\") stream.next();
    }
    return "string.special";
  }
  if (stream.match(CEL_NUMBER)) return "number";
  const name = stream.match(CEL_NAME);
  if (name) {
    if (CEL_ATOMS.has(name[0])) return "atom";
    return stream.match(/^\s*\(/, false) ? "builtin" : "variableName";
  }
  if (stream.match(CEL_OPERATOR)) return "operator";
  stream.next();
  return null;
}

function token(stream, state) {
  if (state.quote) return text(stream, state);
  if (stream.eatSpace()) return null;
  if (stream.match(/^#.*/)) return "comment";
  if (state.isKey && stream.sol() && stream.match(TABLE)) return "heading";
  const quote = QUOTES.find((one) => stream.match(one));
  if (quote) {
    if (state.isKey) {
      while (!stream.eol() && stream.next() !== quote[0]);
      return "propertyName";
    }
    state.quote = quote;
    state.isCondition = state.key === CONDITION;
    return "string";
  }
  if (state.isKey) {
    const key = stream.match(KEY);
    if (key) {
      state.key = key[0];
      return "propertyName";
    }
  }
  if (stream.eat("=")) {
    state.isKey = false;
    return "operator";
  }
  if (stream.match(/^(?:true|false)\b/)) return "atom";
  if (stream.match(DATE) || stream.match(NUMBER)) return "number";
  const letter = stream.next();
  if (letter === "[" && !state.isKey) state.depth += 1;
  if (letter === "{") state.isKey = true;
  if (letter === "]") state.depth = Math.max(0, state.depth - 1);
  if (letter === "}") state.isKey = false;
  if (letter === "," && state.depth === 0) state.isKey = true; // of an inline table
  return null;
}

export const tomlWithCel = StreamLanguage.define({
  name: "toml",
  startState: () => ({ isKey: true, key: "", quote: null, isCondition: false, depth: 0 }),
  copyState: (state) => ({ ...state }),
  token(stream, state) {
    if (stream.sol() && !state.depth && !(state.quote && state.quote.length === 3)) {
      state.quote = null; // a text in single quotes ends with its line
      state.isCondition = false;
      state.isKey = true;
    }
    return token(stream, state);
  },
  languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["[", "{", "'", '"'] } },
});
