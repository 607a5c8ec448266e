// Exchanges texts with other items, and counts their bytes. `exchange.h` is made of `exchange.wit`.

#include "exchange.h"

#include <stdio.h>
#include <string.h>

// Gives the text of an error, or the number of one that has none, and returns false, as an export does that fails.
static bool refused(wasmpool_shared_types_error_t *error, exchange_string_t *text) {
    char number[16];
    switch (error->tag) {
    case WASMPOOL_SHARED_TYPES_ERROR_NOT_GRANTED:
    case WASMPOOL_SHARED_TYPES_ERROR_WRONG_KIND:
    case WASMPOOL_SHARED_TYPES_ERROR_DENIED:
    case WASMPOOL_SHARED_TYPES_ERROR_QUOTA:
        *text = error->val.not_granted; // all texts are in one place, and this one is freed by the caller now
        break;
    default:
        snprintf(number, sizeof number, "error %d", error->tag);
        exchange_string_dup(text, number);
        wasmpool_shared_types_error_free(error);
    }
    return false;
}

bool exports_exchange_exchange(exchange_string_t *text, exchange_string_t *result, exchange_string_t *failure) {
    exchange_string_t texts_name, bytes_name;
    exchange_string_set(&texts_name, "texts");
    exchange_string_set(&bytes_name, "bytes");
    exchange_list_u8_t message = {text->ptr, text->len}, got;
    wasmpool_shared_types_error_t error;

    wasmpool_shared_queues_own_queue_t texts;
    if (!wasmpool_shared_queues_static_queue_open(&texts_name, &texts, &error)) {
        return refused(&error, failure);
    }
    wasmpool_shared_queues_borrow_queue_t queue = wasmpool_shared_queues_borrow_queue(texts);
    if (!wasmpool_shared_queues_method_queue_put(queue, &message, NULL, &error)) {
        return refused(&error, failure);
    }

    wasmpool_shared_numbers_own_value_t bytes;
    if (!wasmpool_shared_numbers_static_value_open(&bytes_name, &bytes, &error)) {
        return refused(&error, failure);
    }
    wasmpool_shared_numbers_number_t count = {.tag = WASMPOOL_SHARED_NUMBERS_NUMBER_S64, .val.s64 = (int64_t)text->len};
    wasmpool_shared_numbers_borrow_value_t value = wasmpool_shared_numbers_borrow_value(bytes);
    wasmpool_shared_numbers_number_t sum;
    if (!wasmpool_shared_numbers_method_value_add(value, &count, &sum, &error)) {
        return refused(&error, failure);
    }

    if (!wasmpool_shared_queues_method_queue_get(queue, NULL, &got, &error)) {
        return refused(&error, failure);
    }
    *result = (exchange_string_t){got.ptr, got.len};
    wasmpool_shared_numbers_value_drop_own(bytes);
    wasmpool_shared_queues_queue_drop_own(texts);
    exchange_string_free(text);
    return true;
}
