// Package expr is the one home of CEL in riposte. It gives rules and playbooks a
// typed environment, so that a misspelt field is an error at load, with its
// place, and not a rule that silently never fires; compiles expressions to
// programs that allocate nothing per evaluation; bounds their cost before they
// run; derives the conditions that an expression cannot do without, which the
// rule index looks up; and explains a verdict as a tree of sub-expressions with
// the values they had.
//
// What an expression may name depends on its environment. Over CloudTrail
// records the variables are the record's own top-level names; over flow logs
// they are members of flow, over Config items members of item; over findings
// there are finding, event and incident. A typed field that is absent has its
// zero value and has() tells; free-form parts are dyn and want the optional
// syntax: requestParameters.?bucketName.orValue("").
//
// An evaluation that ends in an error is an error to the caller and never false.
package expr
