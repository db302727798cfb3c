// The comparison: its numbers are said anew each second.

import { follow } from "./follow.js";

follow(document.querySelector("#compared"));
