// Package respond turns findings into incidents and incidents into plans:
// findings with the same cause become one incident; playbooks that match a
// finding plan containment step by step, by really reading what they would
// change; every plan says the exact calls, the state before, and how to undo
// them.
//
// This version plans and never acts: the responder refuses any mode but dry run,
// because acting needs the durable engine that claims, verifies and takes back.
// Actions nevertheless implement the whole contract, and are tested doing so.
package respond
