/** The live page. */

import { pageData } from "../pages/dom.js";

pageData();
