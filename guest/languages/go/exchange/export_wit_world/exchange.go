// Package export_wit_world exchanges texts with other items, and counts their bytes. Its name is that of the bindings.
package export_wit_world

import (
	"fmt"

	. "go.bytecodealliance.org/pkg/wit/types"

	numbers "wit_component/wasmpool_shared_numbers"
	queues "wit_component/wasmpool_shared_queues"
	shared "wit_component/wasmpool_shared_types"
)

func Exchange(text string) Result[string, string] {
	message := []byte(text)
	opened := queues.QueueOpen("texts")
	if opened.IsErr() {
		return refused(opened.Err())
	}
	texts := opened.Ok()
	defer texts.Drop()
	if put := texts.Put(message, None[uint64]()); put.IsErr() {
		return refused(put.Err())
	}
	counted := numbers.ValueOpen("bytes")
	if counted.IsErr() {
		return refused(counted.Err())
	}
	bytes := counted.Ok()
	defer bytes.Drop()
	if sum := bytes.Add(numbers.MakeNumberS64(int64(len(message)))); sum.IsErr() {
		return refused(sum.Err())
	}
	got := texts.Get(None[uint64]())
	if got.IsErr() {
		return refused(got.Err())
	}
	return Ok[string, string](string(got.Ok()))
}

// The text of an error, or the number of one that has none.
func refused(err shared.Error) Result[string, string] {
	text := fmt.Sprint("error ", err.Tag())
	switch err.Tag() {
	case shared.ErrorNotGranted:
		text = err.NotGranted()
	case shared.ErrorWrongKind:
		text = err.WrongKind()
	case shared.ErrorDenied:
		text = err.Denied()
	case shared.ErrorQuota:
		text = err.Quota()
	}
	return Err[string, string](text)
}
