%% Erlang's side. One bench per virtual machine:
%%   erl -noshell -s rivals main -extra BENCH MESSAGES CALLS ACTORS MEMBERS HOPS RESTARTS ACTIVE IDLE...
%% Prints the samples of the bench as one JSON array.
-module(rivals).
-behaviour(supervisor).
-export([main/0, counter/1, hop/2, init/1]).
-export([start_victim/1, handle_cast/2, handle_call/3]).

main() ->
    [Bench | Numbers] = init:get_plain_arguments(),
    [Messages, Calls, Actors, Members, Hops, Restarts, Active | Idle] =
        [list_to_integer(N) || N <- Numbers],
    logger:set_primary_config(level, none),
    timer:apply_after(600000, erlang, halt, [124]),
    Samples = case Bench of
        "cast_1_to_1" -> casts(1, Messages);
        "cast_4_to_1" -> casts(4, Messages);
        "call_round_trip" -> call_round_trip(Calls);
        "spawn" ->
            {T, _} = time(fun() -> idle(Actors) end),
            [{T / Actors, "ns", none}];
        "memory_per_actor" ->
            Before = resident(),
            Alive = idle(Actors),
            Bytes = (resident() - Before) / Actors,
            hd(Alive) ! {add, 0},
            [{Bytes, "B", none}];
        "ring_hop" -> ring_hop(Members, Hops);
        "restart" -> restart(fail, Restarts);
        "restart_panic" -> restart(panic, Restarts);
        "growth" -> growth(Messages, Active, Idle)
    end,
    io:format("[~s]~n", [lists:join(",", [json(S) || S <- Samples])]),
    halt().

%% The counter of every side.
counter(Sum) ->
    receive
        {add, N} -> counter(Sum + N);
        {get, From, Ref} -> From ! {Ref, Sum}, counter(Sum)
    end.

casts(Sources, Messages) ->
    Sink = spawn(?MODULE, counter, [0]),
    Each = Messages div Sources,
    source([Sink], Each div 10),
    Before = ask(Sink),
    {T, Sum} = time(fun() ->
        Pids = [spawn_monitor(fun() -> send(Each, [Sink], [Sink]) end) || _ <- lists:seq(1, Sources)],
        [receive {'DOWN', M, _, _, normal} -> ok end || {_, M} <- Pids],
        ask(Sink)
    end),
    Sum = Before + Each * Sources,
    [{Each * Sources * 1.0e9 / T, "msg/s", none}].

call_round_trip(Calls) ->
    Target = spawn(?MODULE, counter, [0]),
    calls(Target, Calls div 10),
    {T, _} = time(fun() -> calls(Target, Calls) end),
    [{T / Calls, "ns", none}].

ring_hop(Members, Hops) ->
    Me = self(),
    First = spawn(fun() -> receive {next, P} -> hop(P, Me) end end),
    Last = lists:foldl(fun(_, Next) -> spawn(?MODULE, hop, [Next, Me]) end, First, lists:seq(2, Members)),
    First ! {next, Last},
    pass(First, Hops div 10),
    {T, _} = time(fun() -> pass(First, Hops) end),
    [{T / Hops, "ns", none}].

pass(First, Hops) -> First ! {add, Hops}, receive done -> ok end.

hop(Next, Owner) ->
    receive
        {add, 0} -> Owner ! done, hop(Next, Owner);
        {add, N} -> Next ! {add, N - 1}, hop(Next, Owner)
    end.

growth(Messages, Active, Sizes) ->
    Busy = idle(Active),
    busy(Busy, Messages),
    Before = resident(),
    {Samples, _} = lists:foldl(fun(Size, {Done, Crowd}) ->
        Larger = [idle(Size - lists:sum([length(C) || C <- Crowd])) | Crowd],
        Bytes = (resident() - Before) / Size,
        Cost = busy(Busy, Messages),
        {[{Bytes, "B", Size}, {Cost, "ns", Size} | Done], Larger}
    end, {[], []}, Sizes),
    lists:reverse(Samples).

busy(Busy, Messages) ->
    {T, _} = time(fun() -> source(Busy, Messages), answers(Busy) end),
    T / Messages.

%% A process that sends, as on the other sides; returns when it has.
source(Targets, Messages) ->
    {_, M} = spawn_monitor(fun() -> send(Messages, Targets, Targets) end),
    receive {'DOWN', M, _, _, normal} -> ok end.

send(0, _, _) -> ok;
send(N, [], All) -> send(N, All, All);
send(N, [Target | Rest], All) -> Target ! {add, 1}, send(N - 1, Rest, All).

%% Started one after the other; then all have answered.
idle(Actors) ->
    Pids = [spawn(?MODULE, counter, [0]) || _ <- lists:seq(1, Actors)],
    answers(Pids),
    Pids.

answers(Pids) ->
    Ref = make_ref(),
    [P ! {get, self(), Ref} || P <- Pids],
    [receive {Ref, _} -> ok end || _ <- Pids],
    ok.

ask(Pid) ->
    Ref = make_ref(),
    Pid ! {get, self(), Ref},
    receive {Ref, Sum} -> Sum end.

calls(_, 0) -> ok;
calls(Pid, N) -> ask(Pid), calls(Pid, N - 1).

%% A gen_server under a supervisor.
restart(Fault, Restarts) ->
    {ok, _} = supervisor:start_link(?MODULE, {supervisor, self(), Restarts + 1}),
    receive up -> ok end,
    Times = lists:sort([element(1, time(fun() ->
        gen_server:cast(victim, Fault),
        receive up -> ok end,
        0 = gen_server:call(victim, get)
    end)) || _ <- lists:seq(1, Restarts)]),
    [{lists:nth((Restarts + 1) div 2, Times) / 1000, "us", none}].

init({supervisor, Owner, Restarts}) ->
    Child = #{id => victim, start => {?MODULE, start_victim, [Owner]}},
    {ok, {#{intensity => Restarts, period => 1}, [Child]}};
init({victim, Owner}) ->
    Owner ! up,
    {ok, 0}.

start_victim(Owner) -> gen_server:start_link({local, victim}, ?MODULE, {victim, Owner}, []).

handle_cast(fail, Sum) -> {stop, as_told, Sum};
handle_cast(panic, _) -> error(as_told).

handle_call(get, _, Sum) -> {reply, Sum, Sum}.

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
json({Value, Unit, Actors}) ->
    io_lib:format("{\"value\":~.3f,\"unit\":\"~s\",\"actors\":~b}", [Value * 1.0, Unit, Actors]).
