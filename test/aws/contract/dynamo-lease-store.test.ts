import { createDynamoLeaseStore } from "@silt/aws";
import { leaseStoreContract } from "@silt/testkit";
import { dropTable, newTable, rootClients } from "../test-account.fixture.ts";

leaseStoreContract("DynamoDB", async (clock) => {
  const clients = rootClients();
  const table = await newTable(clients);
  return {
    leases: createDynamoLeaseStore({ client: clients.dynamo, table }, clock),
    async dispose() {
      await dropTable(clients, table);
      clients[Symbol.dispose]();
    },
  };
});
