%% Erlang's side between two virtual machines, over its own distribution in clear text:
%%   erl ... -s wire serve                            prints one line when it can be called
%%   erl ... -s wire main -extra BENCH CALLS CASTS CALLS_EACH BULK REFS...
%% The second prints the samples of the bench as one JSON array.
-module(wire).
-export([serve/0, main/0, echo/1]).

-define(CALL_BYTES, 64).
-define(BULK_BYTES, 1048576).
-define(CALLERS, 64).

serve() ->
    register(echo, spawn(?MODULE, echo, [0])),
    io:format("~s~n", [node()]),
    io:get_line(""),
    halt().

main() ->
    [Bench | Numbers] = init:get_plain_arguments(),
    [Calls, Casts, Each, Bulk | Refs] = [list_to_integer(N) || N <- Numbers],
    timer:apply_after(600000, erlang, halt, [124]),
    Echo = connect(),
    Samples = case Bench of
        "remote_call_round_trip" -> round_trip(Echo, Calls);
        "remote_call_round_trip_unpinned" -> round_trip(Echo, Calls);
        "remote_cast_1_to_1" ->
            T = casts(Echo, 64, Casts),
            [{Casts * 1.0e9 / T, "msg/s", none}];
        "remote_call_64" -> concurrent(Echo, Each);
        "remote_bulk_1MiB" -> bulk(Echo, Bulk);
        "bulk_lane" -> bulk(Echo, Bulk);
        "call_beside_bulk_p99" -> beside_bulk(Echo, Calls, Bulk);
        "remote_refs" -> lists:append([refs(Echo, Calls, N) || N <- Refs]);
        "nodes_in_process" -> []
    end,
    io:format("[~s]~n", [lists:join(",", [json(S) || S <- Samples])]),
    halt().

connect() ->
    true = net_kernel:connect_node('server@127.0.0.1'),
    rpc:call('server@127.0.0.1', erlang, whereis, [echo]).

echo(Casts) ->
    receive
        {cast, _} -> echo(Casts + 1);
        {call, From, Ref, Bytes} -> From ! {Ref, Bytes}, echo(Casts);
        {count, From, Ref} -> From ! {Ref, Casts}, echo(0);
        {spawn, From, Ref, N} ->
            From ! {Ref, [spawn(?MODULE, echo, [0]) || _ <- lists:seq(1, N)]},
            echo(Casts)
    end.

round_trip(Echo, Calls) ->
    calls(Echo, Calls div 10),
    {T, _} = time(fun() -> calls(Echo, Calls) end),
    [{T / Calls / 1000, "us", none}].

concurrent(Echo, Each) ->
    together(Echo, 1),
    {T, _} = time(fun() -> together(Echo, Each) end),
    [{?CALLERS * Each * 1.0e9 / T, "call/s", none}].

together(Echo, Each) ->
    Callers = [spawn_monitor(fun() -> calls(Echo, Each) end) || _ <- lists:seq(1, ?CALLERS)],
    [receive {'DOWN', M, _, _, normal} -> ok end || {_, M} <- Callers].

bulk(Echo, Messages) ->
    T = casts(Echo, ?BULK_BYTES, Messages),
    [{Messages * ?BULK_BYTES / T, "GB/s", none}].

casts(Echo, Bytes, Messages) ->
    [Sink] = more(Echo, 1),
    cast(Sink, Bytes, Messages div 10),
    {T, _} = time(fun() -> cast(Sink, Bytes, Messages) end),
    T.

cast(Sink, Bytes, Messages) ->
    send(Sink, binary:copy(<<7>>, Bytes), Messages),
    Messages = ask(Sink, count).

send(_, _, 0) -> ok;
send(Sink, Bytes, N) -> Sink ! {cast, Bytes}, send(Sink, Bytes, N - 1).

beside_bulk(Echo, Calls, Messages) ->
    [Sink] = more(Echo, 1),
    cast(Sink, ?BULK_BYTES, Messages div 10 + 1),
    Alone = [timed(Echo) || _ <- lists:seq(1, Calls)],
    {_, M} = spawn_monitor(fun() -> cast(Sink, ?BULK_BYTES, Messages) end),
    Beside = until(M, Echo, []),
    [{percentile_99(Beside), "us", {alone, percentile_99(Alone)}}].

until(M, Echo, Times) ->
    receive
        {'DOWN', M, _, _, normal} -> Times
    after 0 ->
        until(M, Echo, [timed(Echo) | Times])
    end.

refs(Echo, Calls, N) ->
    Before = resident(),
    Pids = more(Echo, N),
    Times = [timed(Pid) || _ <- lists:seq(1, max(Calls div 10 div N, 2)), Pid <- Pids],
    Bytes = max(resident() - Before, 0) / N,
    Median = lists:nth((length(Times) + 1) div 2, lists:sort(Times)),
    [{Median, "us", {refs, N}}, {Bytes, "B", {refs, N}}].

%% More of its kind there.
more(Echo, N) ->
    Ref = make_ref(),
    Echo ! {spawn, self(), Ref, N},
    receive {Ref, Pids} -> Pids end.

calls(_, 0) -> ok;
calls(Echo, N) -> call(Echo), calls(Echo, N - 1).

call(Echo) ->
    Ref = make_ref(),
    Echo ! {call, self(), Ref, binary:copy(<<7>>, ?CALL_BYTES)},
    receive {Ref, _} -> ok end.

ask(Echo, What) ->
    Ref = make_ref(),
    Echo ! {What, self(), Ref},
    receive {Ref, Answer} -> Answer end.

timed(Echo) ->
    {T, _} = time(fun() -> call(Echo) end),
    T / 1000.

percentile_99(Times) ->
    lists:nth(min(length(Times) * 99 div 100 + 1, length(Times)), lists:sort(Times)).

time(F) ->
    T0 = erlang:monotonic_time(nanosecond),
    R = F(),
    {erlang:monotonic_time(nanosecond) - T0, R}.

resident() ->
    {ok, Text} = file:read_file("/proc/self/status"),
    {match, [Kilobytes]} = re:run(Text, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.

json({Value, Unit, none}) ->
    io_lib:format("{\"value\":~.3f,\"unit\":\"~s\"}", [Value * 1.0, Unit]);
json({Value, Unit, {Key, More}}) ->
    io_lib:format("{\"value\":~.3f,\"unit\":\"~s\",\"~s\":~w}", [Value * 1.0, Unit, Key, More]).
