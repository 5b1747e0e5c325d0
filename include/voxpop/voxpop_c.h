#ifndef VOXPOP_VOXPOP_C_H
#define VOXPOP_VOXPOP_C_H
/* libvoxpop for other languages: the functions of voxpop.h in C. Columns have the same names as in the files
 * comparisons/1 and fit/1 (docs/hdf5.md).
 *
 * Functions that return int return 0, or the kind of error: the exit codes of the program (docs/exit_codes.md).
 * voxpop_error() then returns the message. Only one thread at a time may use a votes or fit object. */

#include <stdint.h>

#if defined(__GNUC__)
#define VOXPOP_API __attribute__((visibility("default")))
#else
#define VOXPOP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum voxpop_type {
  VOXPOP_INT8 = 1,
  VOXPOP_INT32 = 2,
  VOXPOP_UINT32 = 3,
  VOXPOP_INT64 = 4,
  VOXPOP_FLOAT32 = 5,
  VOXPOP_FLOAT64 = 6,
  VOXPOP_TEXT = 7
} voxpop_type;

typedef struct voxpop_column {
  voxpop_type type;
  uint64_t rows;
  uint64_t columns;       /* numbers in a row: 1 except for a matrix, which is row-major */
  const void* data;       /* [rows x columns] numbers; texts: UTF-8 bytes, without separators */
  const int64_t* offsets; /* texts: [rows + 1] start of each in `data`, then the end; else null */
} voxpop_column;

/* Where a run runs, and the functions that it calls. A null function is not called; a null pointer to a context
 * means the defaults. `stop` is called often, also by threads other than the caller's; if it returns nonzero, the
 * run ends with error 130. The other functions are called by one thread at a time. */
typedef struct voxpop_context {
  void* user; /* passed to the functions */
  void (*note)(void* user, const char* text);
  void (*progress)(void* user, const char* phase, uint64_t done, uint64_t total, const char* detail);
  int (*stop)(void* user);
  int32_t threads;       /* 0: all cores that this process may use */
  const char* device;    /* "auto", "cpu", "cuda", "cuda:N"; null: "auto" */
  uint64_t memory_limit; /* bytes; 0: all free memory */
  /* Another thread may write here: nonzero stops the run, as `stop` does. Null: not used. */
  const int32_t* stop_flag;
} voxpop_context;

typedef struct voxpop_votes voxpop_votes;
typedef struct voxpop_fit voxpop_fit;

/* The version, such as "0.2.0". */
VOXPOP_API const char* voxpop_version(void);
/* Message of the last error in this thread; valid until the thread's next call. */
VOXPOP_API const char* voxpop_error(void);

VOXPOP_API voxpop_votes* voxpop_votes_new(void);
VOXPOP_API void voxpop_votes_free(voxpop_votes* votes);
/* Sets a column; the data are copied. Required: items/id, comparisons/left, comparisons/right,
 * comparisons/preference.
 * Optional: comparisons/annotator (without it, votes are anonymous), comparisons/weight, comparisons/judgement (-1:
 * none), comparisons/timestamp, items/prompt, items/source (-1: not known), items/prior_score, items/features (a
 * matrix), items/features.names, items/embedding (a matrix of float32), annotators/id, prompts/id, sources/id,
 * gold/left, gold/right, gold/probability, trusted (rows of annotators/id). Columns of indices may have any integer
 * type. */
VOXPOP_API int voxpop_votes_set(voxpop_votes* votes, const char* name, const voxpop_column* column);
/* Marks all votes. `what`: "sides_unknown", or "independent" (repeated votes are independent). */
VOXPOP_API int voxpop_votes_mark(voxpop_votes* votes, const char* what);
/* Reads comparisons/1 files. They replace the votes in the object. */
VOXPOP_API int voxpop_votes_read(voxpop_votes* votes, const char* const* paths, uint64_t count,
                                 const voxpop_context* context);
/* Summary of the votes as JSON: {"votes", "items", "annotators", "inputs": [{"path", "bytes", "xxh3"}]}. Valid until
 * the next call with these votes; null if memory is not sufficient. */
VOXPOP_API const char* voxpop_votes_json(voxpop_votes* votes);
/* Writes comparisons/1. */
VOXPOP_API int voxpop_votes_write(const voxpop_votes* votes, const char* path, const voxpop_context* context);

/* Compares models on held-out votes. `request`: a JSON object with members of EvaluateRequest (request.h), such as
 * {"models": ["bt", "rater"], "folds": 5}; null: the defaults. `json`: the same as `voxpop evaluate --json` prints;
 * valid until the next call in this thread. */
VOXPOP_API int voxpop_evaluate(const voxpop_votes* votes, const char* request, const voxpop_context* context,
                               const char** json);

/* Fits votes. `request`: a JSON object with members of FitRequest (request.h), such as {"model": "rater", "ties":
 * "half", "ignore": ["features"], "calibrate": true}; null: the defaults. */
VOXPOP_API int voxpop_fit_votes(const voxpop_votes* votes, const char* request, const voxpop_context* context,
                                voxpop_fit** fit);
/* Reads fit/1, as voxpop::read_fit() does. */
VOXPOP_API int voxpop_fit_read(const char* path, const voxpop_context* context, voxpop_fit** fit);
VOXPOP_API void voxpop_fit_free(voxpop_fit* fit);
/* The column `name` of fit/1; valid until the fit is freed. Error 2 if there is no such column. For an enum such as
 * annotators/flag, the column NAME.names has the names of its values 0, 1, ... */
VOXPOP_API int voxpop_fit_column(const voxpop_fit* fit, const char* name, voxpop_column* column);
/* Names of all columns, each followed by a line break. */
VOXPOP_API const char* voxpop_fit_names(const voxpop_fit* fit);
/* The provenance, as JSON: versions, options, hyperparameters, findings, warnings, seconds. */
VOXPOP_API const char* voxpop_fit_json(const voxpop_fit* fit);
/* Writes fit/1. */
VOXPOP_API int voxpop_fit_write(const voxpop_fit* fit, const char* path, const voxpop_context* context);
/* The HTML report; valid until the next call with this fit. */
VOXPOP_API int voxpop_fit_report(voxpop_fit* fit, const char** html);
/* Rows for trainers. `request`: a JSON object with members of RowsRequest (voxpop.h). `use` is called repeatedly,
 * each time with several whole lines. */
VOXPOP_API int voxpop_fit_rows(const voxpop_fit* fit, const char* request, const voxpop_context* context,
                               void (*use)(void* user, const char* text, uint64_t bytes), void* user);

#ifdef __cplusplus
}
#endif
#endif
