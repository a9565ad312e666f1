/* test_kb_label.c - every label of the public dataset of deployment questions finds its node; what means none
 * finds none. */
#include "data.h"
#include "label.h"
#include <setjmp.h>
#include <cmocka.h>

static void labels_find_their_nodes(void **state PTL_UNUSED)
{
    static const struct {
        const char *platform, *label, *node;
    } t[] = {
        {"server",  "enviroment - install/building frameworks",
         "server/environment/installing-building-frameworks"                                                                                   },
        {"server",  "enviroment - avoiding version incompatibility",
         "server/environment/avoiding-version-incompatibility"                                                                                 },
        {"server",  "general questions - limitations of platforms/frameworks",
         "server/general-questions/limitations-of-platforms-frameworks"                                                                        },
        {"server",  "model export - export of unsupported model",
         "server/model-export/export-of-unsupported-models"                                                                                    },
        {"server",  "model export - procedure",                                                 "server/model-export/procedure"                },
        {"server",  "model update",                                                             "server/model-update"                          },
        {"server",  "request - batching request",                                               "server/request/batching-request"              },
        {"server",  "request - setting request parameters/body",
         "server/request/setting-request-parameters-body"                                                                                      },
        {"server",  "serving - authenticating the clients",                                     "server/serving/authenticating-client"         },
        {"server",  "serving - parsing request",                                                "server/serving/parsing-request"               },
        {"server",  "data processing - setting format/datatype of input data",
         "server/data-processing/setting-format-datatype-of-input-data"                                                                        },
        {"server",  "data processing - setting size/shape of input data",
         "server/data-processing/setting-size-shape-of-input-data"                                                                             },
        {"mobile",  "dl libraries compilation - register of unsupported operators",
         "mobile/dl-library-compilation/register-of-unsupported-operators"                                                                     },
        {"mobile",  "dl integration into projects - importing/loading model",
         "mobile/dl-integration-into-projects/importing-loading-models"                                                                        },
        {"mobile",  "dl integration into projects - configuration of input/output information",
         "mobile/dl-integration-into-projects/configuration-of-input-output-information"                                                       },
        {"mobile",  "model conversion - saving model",                                          "mobile/model-conversion/saving-models"        },
        {"mobile",  "model conversion - selection/usage of apis",
         "mobile/model-conversion/selection-usage-of-apis"                                                                                     },
        {"mobile",  "data extraction",                                                          "mobile/data-extraction"                       },
        {"browser", "data processing - migrating  pre-processing code",
         "browser/data-processing/migrating-pre-processing"                                                                                    },
        {"browser", "general questions - limitations/bugs of frameworks",
         "browser/general-questions/limitations-of-frameworks"                                                                                 },
        {"browser", "model loading - asynchronous model loading",
         "browser/model-loading/asynchronous-loading"                                                                                          },
        {"browser", "model loading - improve loading speed",                                    "browser/model-loading/improving-loading-speed"},
        {"browser", "model loading - loading from http endpoint",
         "browser/model-loading/loading-from-a-http-endpoint"                                                                                  },
        {"browser", "Model Loading - Loading from local storage",
         "browser/model-loading/loading-from-local-storage"                                                                                    },
        {"browser", "cooking - frying eggs",                                                    NULL                                           },
        {"browser", "model loading - frying eggs",                                              NULL                                           },
        {"browser", "",                                                                         NULL                                           },
        {"toaster", "model update",                                                             NULL                                           },
        {NULL,      "model update",                                                             NULL                                           },
    };
    PTL_JSON *problems = json_array();
    json_t *doc = NULL;
    assert_int_equal(ptl_kb_data_read(&ptl_kb_files_builtin, problems, &doc), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        const char *got = ptl_kb_label_node(json_object_get(doc, "nodes"), t[i].platform, t[i].label);
        if (!ptl_str_eq(got, t[i].node))
            fail_msg("'%s' of %s: %s, expected %s", t[i].label, t[i].platform ? t[i].platform : "none",
                     got ? got : "none", t[i].node ? t[i].node : "none");
    }
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels_find_their_nodes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
