import { createDynamoRunLog } from "@silt/aws";
import { systemClock, systemRandom } from "@silt/local";
import { runLogContract } from "@silt/testkit";
import { dropTable, newTable, rootClients } from "../test-account.fixture.ts";

runLogContract("DynamoDB", async () => {
  const clients = rootClients();
  const table = await newTable(clients);
  const pace = { clock: systemClock, random: systemRandom };
  return {
    log: createDynamoRunLog({ client: clients.dynamo, table }, pace),
    // Writers who do not wait would meet at each attempt.
    clock: systemClock,
    async dispose() {
      await dropTable(clients, table);
      clients[Symbol.dispose]();
    },
  };
});
