/** The live page over a server. */

import { pageData } from "../pages/dom.js";
import { Instrument } from "./instrument.js";
import { ServerEngine } from "./server_engine.js";

const data = pageData();
new Instrument(data, new ServerEngine(data));
