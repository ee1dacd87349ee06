/* Lua, as its authors wrote it, with a script. Errors end it: there is nothing to jump back to. */
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char script[] =
    "local count = ... "
    "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end "
    "local words, parts = {}, {} "
    "for i = 1, count do "
    "  local word = 'w' .. (i * 7919 % 251) "
    "  words[word] = (words[word] or 0) + 1 "
    "  parts[#parts + 1] = string.format('%d:%s', i, word) "
    "end "
    "local sum, keys = 0, {} "
    "for word in pairs(words) do keys[#keys + 1] = word end "
    "table.sort(keys) "
    "for i, word in ipairs(keys) do sum = sum + i * words[word] end "
    "local text = table.concat(parts, ',') "
    "local _, found = text:gsub('w(%d)1', '%1') "
    "return sum * 1000 + found + fib(20)";

__attribute__((export_name("run"))) long long run(int n) {
    lua_State *state = luaL_newstate();
    luaL_requiref(state, "_G", luaopen_base, 1);
    luaL_requiref(state, "string", luaopen_string, 1);
    luaL_requiref(state, "table", luaopen_table, 1);
    lua_settop(state, 0);
    if (luaL_loadstring(state, script)) return -1;
    lua_pushinteger(state, n);
    lua_call(state, 1, 1);
    long long result = (long long)lua_tointeger(state, -1);
    lua_close(state);
    return result;
}
