package event

// index is where each hot field lies in Raw.
type index struct{}

// FlowFormat names the columns of flow log records.
type FlowFormat struct{}
