/** The live page without Python. */

import { pageData } from "../../pages/dom.js";
import { Instrument } from "../instrument.js";
import { StaticEngine } from "./static_engine.js";

const data = { ...pageData(), local: isSecureContext };
new Instrument(data, new StaticEngine(data));
