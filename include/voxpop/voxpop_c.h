#ifndef VOXPOP_VOXPOP_C_H
#define VOXPOP_VOXPOP_C_H
/* libvoxpop for other languages: voxpop.h in C. Columns have the names of the files comparisons/1 and fit/1
 * (docs/hdf5.md).
 *
 * Functions that return int give 0, or what kind of error there is (the program's exit codes, docs/exit_codes.md);
 * voxpop_error() then has the message. A votes or fit object may be used by one thread at a time. */

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
  uint64_t columns;       /* numbers in a row: 1, but in a matrix, which is row-major */
  const void* data;       /* [rows x columns] numbers; texts: their bytes, UTF-8, one behind the other */
  const int64_t* offsets; /* texts: [rows + 1] where each begins in `data`, and where the last ends; else null */
} voxpop_column;

/* Where a run runs, and whom it tells about it. A null function is not called; a null pointer to a context means the
 * defaults. `stop` is called often, also by other threads than the caller's; not 0: the run ends with error 130. The
 * other functions are called by one thread at a time. */
typedef struct voxpop_context {
  void* user; /* given to the functions */
  void (*note)(void* user, const char* text);
  void (*progress)(void* user, const char* phase, uint64_t done, uint64_t total, const char* detail);
  int (*stop)(void* user);
  int32_t threads;       /* 0: every core that this process may use */
  const char* device;    /* "auto", "cpu", "cuda", "cuda:N"; null: "auto" */
  uint64_t memory_limit; /* bytes; 0: what is free */
  /* Where another thread may write: not 0 there stops the run, as `stop` does. Null: not looked at. */
  const int32_t* stop_flag;
} voxpop_context;

typedef struct voxpop_votes voxpop_votes;
typedef struct voxpop_fit voxpop_fit;

/* "0.2.0" */
VOXPOP_API const char* voxpop_version(void);
/* Message of the last error in this thread, until its next call. */
VOXPOP_API const char* voxpop_error(void);

VOXPOP_API voxpop_votes* voxpop_votes_new(void);
VOXPOP_API void voxpop_votes_free(voxpop_votes* votes);
/* Sets a column, which is copied: comparisons/left, comparisons/right, comparisons/annotator, items/prompt (indices:
 * any integer type; items/source: -1 is not known), comparisons/preference, comparisons/weight, comparisons/judgement
 * (-1: none), comparisons/timestamp, items/prior_score, items/features (a matrix), items/features.names,
 * items/embedding (a matrix of float32), items/id, annotators/id, prompts/id, sources/id, gold/left, gold/right,
 * gold/probability, trusted (rows of annotators/id). Needed are items/id, and left, right and preference of
 * comparisons. Without comparisons/annotator, votes are anonymous. */
VOXPOP_API int voxpop_votes_set(voxpop_votes* votes, const char* name, const voxpop_column* column);
/* Says something of all votes: "sides_unknown", "independent" (repeated votes are). */
VOXPOP_API int voxpop_votes_mark(voxpop_votes* votes, const char* what);
/* Reads comparisons/1 files in place of what is there. */
VOXPOP_API int voxpop_votes_read(voxpop_votes* votes, const char* const* paths, uint64_t count,
                                 const voxpop_context* context);
/* What the votes are, as JSON: {"votes", "items", "annotators", "inputs": [{"path", "bytes", "xxh3"}]}. Valid until the
 * next call for these votes; null where memory is missing. */
VOXPOP_API const char* voxpop_votes_json(voxpop_votes* votes);
/* Writes comparisons/1. */
VOXPOP_API int voxpop_votes_write(const voxpop_votes* votes, const char* path, const voxpop_context* context);

/* Compares models on held-out votes. `request`: a JSON object with members of EvaluateRequest (request.h), such as
 * {"models": ["bt", "rater"], "folds": 5}; null: the defaults. `json`: what `voxpop evaluate --json` prints, valid
 * until the next call in this thread. */
VOXPOP_API int voxpop_evaluate(const voxpop_votes* votes, const char* request, const voxpop_context* context,
                               const char** json);

/* Fits votes. `request`: a JSON object with members of FitRequest (request.h), such as {"model": "rater", "ties":
 * "half", "ignore": ["features"], "calibrate": true}; null: the defaults. */
VOXPOP_API int voxpop_fit_votes(const voxpop_votes* votes, const char* request, const voxpop_context* context,
                                voxpop_fit** fit);
/* Reads fit/1: as voxpop::read_fit(). */
VOXPOP_API int voxpop_fit_read(const char* path, const voxpop_context* context, voxpop_fit** fit);
VOXPOP_API void voxpop_fit_free(voxpop_fit* fit);
/* The column `name` of fit/1, valid as long as the fit; error 2 where there is none. Of an enum such as
 * annotators/flag, NAME.names has the names of its numbers 0, 1, ... */
VOXPOP_API int voxpop_fit_column(const voxpop_fit* fit, const char* name, voxpop_column* column);
/* Names of all columns, each ended by a line break. */
VOXPOP_API const char* voxpop_fit_names(const voxpop_fit* fit);
/* The provenance, as JSON: versions, options, hyperparameters, findings, warnings, seconds. */
VOXPOP_API const char* voxpop_fit_json(const voxpop_fit* fit);
/* Writes fit/1. */
VOXPOP_API int voxpop_fit_write(const voxpop_fit* fit, const char* path, const voxpop_context* context);
/* The report's page; valid until the next call for this fit. */
VOXPOP_API int voxpop_fit_report(voxpop_fit* fit, const char** html);
/* Rows for trainers. `request`: a JSON object with members of RowsRequest (voxpop.h). `use` gets some whole lines at a
 * time. */
VOXPOP_API int voxpop_fit_rows(const voxpop_fit* fit, const char* request, const voxpop_context* context,
                               void (*use)(void* user, const char* text, uint64_t bytes), void* user);

#ifdef __cplusplus
}
#endif
#endif
