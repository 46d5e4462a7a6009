// What report.js uses of the chart library. The interpreter evaluates Vega's expressions without eval,
// which the report's Content-Security-Policy forbids.
import { compile } from "vega-lite";
import { parse, View } from "vega";
import { expressionInterpreter } from "vega-interpreter";

export { compile, expressionInterpreter, parse, View };
