// The editor of a rules table. The page's own script (app/views/static/rules_page.js) starts it in place of a textarea.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

import { tomlWithCel } from "./toml_with_cel.js";

// Colours come from the page's style sheet, light and dark; the classes of the syntax begin with `tok-`.
const theme = EditorView.theme({
  "&": {
    color: "inherit",
    backgroundColor: "transparent",
    font: ".87em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", // here, since lines are measured by it
  },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { font: "inherit", maxHeight: "36rem", minHeight: "12rem" },
});

// Returns an editor in `parent` with the text. `onChange` is called after each change. Tab moves the focus, as on the
// rest of the page. `attributes` are those of the field, such as its label.
export function edit(parent, text, attributes, onChange) {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(),
        highlightActiveLineGutter(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        EditorState.allowMultipleSelections.of(true),
        bracketMatching(),
        highlightActiveLine(),
        highlightSelectionMatches(),
        lintGutter(),
        tomlWithCel,
        syntaxHighlighting(classHighlighter),
        theme,
        EditorView.lineWrapping,
        EditorView.contentAttributes.of(attributes),
        EditorView.updateListener.of((update) => update.docChanged && onChange()),
        keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...lintKeymap]),
      ],
    }),
  });
  window.addEventListener("load", () => view.requestMeasure()); // the page's style sheet may have come late
  return {
    text: () => view.state.doc.toString(),
    focus: () => view.focus(),
    goTo(line) {
      const { from } = view.state.doc.line(Math.min(line, view.state.doc.lines));
      view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
      view.focus();
    },
    // Shows problems, each at its line; one without a line stands at the first.
    show(problems) {
      const { doc } = view.state;
      const diagnostics = problems.map((one) => {
        const line = doc.line(Math.min(Math.max(one.line || 1, 1), doc.lines));
        return { from: line.from, to: line.to, severity: "error", message: one.problem };
      });
      view.dispatch(setDiagnostics(view.state, diagnostics.sort((one, other) => one.from - other.from)));
    },
  };
}
