// overloads.cc - prints each kind of thing that fe_emit takes from C++, as a test expects it.
#include <ferro.h>

#include <string>
#include <string_view>

namespace
{

enum class color : short { red = 7 };
enum plain { green = 8 };

struct pair {
    int32_t a, b;
};

char local[] = "chars";

void texts(fe_task *t, fe_slice, fe_slice)
{
    const std::string string = "string";
    std::string_view view = "view of more";
    fe_emit(t, "literal", string);
    fe_emit(t, string, view.substr(0, 4));
    fe_emit(t, view, std::string("moved"));
    fe_emit(t, local, static_cast<const char *>(local));
    fe_emit(t, fe_str("slice"), "");
}

void numbers(fe_task *t, fe_slice, fe_slice)
{
    fe_emit(t, color::red, true);
    fe_emit(t, green, 'a');
    fe_emit(t, int8_t(-1), uint64_t(5));
    fe_emit(t, 9u, 10l);
    fe_emit(t, 11ll, short(12));
}

void reals(fe_task *t, fe_slice, fe_slice)
{
    fe_emit_value(t, 1.5);
    fe_emit_value(t, 2.5f);
    fe_emit_value(t, 3); // widens
}

void structs(fe_task *t, fe_slice, fe_slice)
{
    const pair p = { 1, 2 };
    fe_emit(t, FERRO_NOTHING, FERRO_BYTES(p));
}

int run(fe_app *app, int, char **)
{
    fe_set *one = fe_range(app, 0, 1, 1);
    return fe_save_text(fe_flat_map(one, texts, FERRO_TEXT, FERRO_TEXT), "-") ||
           fe_save_text(fe_flat_map(one, numbers, FERRO_I64, FERRO_I64), "-") ||
           fe_save_text(fe_flat_map(one, reals, FERRO_NONE, FERRO_F64), "-") ||
           fe_save_text(fe_flat_map(one, structs, FERRO_NONE, FERRO_STRUCT(pair)), "-");
}

} // namespace

FERRO_JOB("overloads", run)
